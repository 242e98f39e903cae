"""The only place that dials: pages, files and probes of one mirror.

`mirror` is the door; `client` asks by aiohttp, `converse` drives conversations, in the fast lane where it can;
`credentials`, `destinations`, `route` and `tls` say who asks, where to and by which way; `breaker` and `kinds` learn from the answers.
"""

from proxy.upstream.client import Download
from proxy.upstream.mirror import FetchedPage, Mirror, NotModified, Validators

__all__ = ["Download", "FetchedPage", "Mirror", "NotModified", "Validators"]
