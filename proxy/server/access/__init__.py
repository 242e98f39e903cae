"""Who may use the proxy, and how much of it.

`presented` reads what a client shows, `accounts` the files of those who are known, `doorkeeper` decides;
`callers` finds out which client it is, `turns` lets each have its share, and `admission` stands before the handlers.
"""

from proxy.server.access.accounts import read_accounts
from proxy.server.access.admission import ADMISSION, Admission, keep_from_shared_caches

__all__ = ["ADMISSION", "Admission", "keep_from_shared_caches", "read_accounts"]
