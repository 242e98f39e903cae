"""Access control: which clients may use the proxy, and how much of it.

`presented` reads what a client shows, `accounts` the files of those who are known, once `file_watch` says that nobody writes to them;
`doorkeeper` decides, in the order that `sign_in_queue` says; `callers` finds out which client it is, `turns` lets each have its share,
and `admission` stands before the handlers.
"""

from proxy.server.access.accounts import read_accounts_at_rest
from proxy.server.access.admission import ADMISSION, Admission, for_one_client, keep_from_shared_caches
from proxy.server.access.doorkeeper import Grant

__all__ = ["ADMISSION", "Admission", "Grant", "for_one_client", "keep_from_shared_caches", "read_accounts_at_rest"]
