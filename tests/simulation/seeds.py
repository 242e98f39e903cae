"""Histories in which a promise was broken once: the seed, the mirror's behaviours (None: drawn as well), and what it showed.

Whoever changes what is drawn, or in which order, gives these seeds other histories: they have to be found anew, on the code as it was.
"""

from collections.abc import Sequence

FOUND: tuple[tuple[int, Sequence[str] | None, str], ...] = (
    (4, ("limit",), "a burst of confirmations recreates the overload that it is to clear up"),  # lost
    (4, ("limit",), "metadata of another wheel is kept though only a limit had refused the file's own"),  # metadata-foreign
    (2, ("dead", "limit"), "healthy files go with dead ones where the mirror bears few requests at once"),  # lost
    (4, ("rate",), "files asked for too fast are taken for absent"),  # lost
    (0, ("nodes",), "files that one of several nodes lacks are dropped"),  # drops
    (0, ("nodes-by-connection",), "files are dropped that lack behind one connection only"),  # drops
    (0, ("random-denials",), "denials at random are taken for proof"),  # drops
    (23, ("brown-out",), "a passing brown-out takes files away"),  # drops
    (10, ("lag",), "files that lag behind their page are gone for ten minutes"),  # not-back
    (8, ("path-failures",), "one silent file closes the window for all others"),  # metadata-refused
    (64, ("metadata-fails",), "a wheel's metadata is another's after its own failed in passing"),  # metadata-foreign
    (65, ("metadata-fails",), "core metadata that fails opens the breaker for pages"),  # stale
    (110, ("metadata-and-ranges-fail",), "the breaker refuses pages for a few files that fail"),  # page-refused
    (5, ("metadata-and-ranges-fail",), "a sibling's metadata is kept for days after a passing 503"),  # metadata-foreign
    (2, ("range-refused",), "files that only a GET without Range delivers are dropped"),  # lost
    (0, ("head-and-range-refused",), "files that only a plain GET delivers are dropped"),  # lost
    (1, ("head-and-range-refused",), "metadata is refused though a plain GET delivers the wheel"),  # metadata-refused
    (4, ("status-203",), "a page with status 203 is refused"),  # page-refused
    (6, ("typed-as-page",), "wheels typed as pages are dropped"),  # lost
    (45, ("outage",), "a maintenance page becomes a project without files"),  # added
    (78, ("outage",), "a maintenance page empties a project"),  # page-empty
    (11, ("outage",), "a known page is refused in an outage"),  # page-gone
    (192, ("outage",), "an open breaker refuses what comes beside its trial long after the outage"),  # metadata-refused
    (11, ("denying-outage",), "known projects turn into 404 as an outage begins or ends"),  # page-gone
    (18, ("denying-outage", "restart"), "the store's pages are erased by 404 after a restart"),  # page-gone
    (647, ("denying-outage", "restart"), "an outage of seconds takes a file away"),  # lost
    (31, ("quarantine",), "a quarantined project is served for days"),  # quarantine
    (11, ("absences",), "another file's metadata outlives the file's absence"),  # metadata-foreign
    (3, ("slow-page",), "one slow page makes all others stale"),  # stale
    (0, ("asks-for-pause",), "one file's Retry-After holds back all metadata"),  # metadata-refused
    (78, ("older-page",), "a file of the last page is unknown once an older page came"),  # file-unknown
    (2, ("clock", "new-release"), "a clock that went back freezes pages"),  # lost
    (17, ("clock", "absences"), "a clock that went back freezes verdicts"),  # not-back
    (31, ("clock", "dead"), "a clock that went back keeps dead files listed"),  # dead-listed
    (2, ("range-refused", "dead"), "dead files stay for want of one word, where Range and GET are denied in two"),  # dead-listed
    (541, ("limit",), "the proxy's own crowd opens the breaker for pages"),  # page-refused
    (46, ("rights", "outage"), "a maintenance page becomes a private project"),  # added
)
