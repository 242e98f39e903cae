"""The audit of a mirror without a proxy running: names, requirements or a lock become a report on what the mirror cannot deliver.

`inputs` reads what is to be looked at, `survey` asks the mirror, by the same verifier as the proxy, so that a finding is what the proxy
would drop; `files`, `pages`, `metadata` and `locked` say what is wrong, `matrix` where a lock can be installed, `formats` writes it down.
"""

from proxy.audit.findings import Report
from proxy.audit.survey import Survey, Watch
from proxy.audit.wanted import Order, Unreadable

__all__ = ["Order", "Report", "Survey", "Unreadable", "Watch"]
