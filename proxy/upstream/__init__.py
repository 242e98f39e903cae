"""The only place that dials: pages, files and probes of one mirror.

`mirror` is the door. `client` asks by aiohttp, and `pages` says for what, `pagelane` by which connections;
`converse` drives conversations, in the fast lane where it can.
`credentials`, `addresses`, `destinations`, `resolver`, `route` and `tls` say who asks, where to and by which way.
`health`, `breaker` and `kinds` learn from the answers.
"""

from proxy.upstream.again import retry_after
from proxy.upstream.client import Download
from proxy.upstream.health import Health
from proxy.upstream.mirror import Mirror
from proxy.upstream.pages import FetchedPage, NotModified, Packed, Validators, lowered, status_error

__all__ = ["Download", "FetchedPage", "Health", "Mirror", "NotModified", "Packed", "Validators", "lowered", "retry_after", "status_error"]
