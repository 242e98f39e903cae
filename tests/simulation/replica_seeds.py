"""Histories of replicas in which a promise was broken once: the seed, the behaviours (None: drawn as well), and what it showed.

Whoever changes what is drawn, or in which order, gives these seeds other histories: they have to be found anew, on the code as it was.
"""

from collections.abc import Sequence

FOUND: tuple[tuple[int, Sequence[str] | None, str], ...] = (
    (2, ("store-emptied",), "pages that an emptied store lost are never written again"),  # page-lost
    (0, ("store-refuses",), "a store that only refuses to write is left alone"),  # refusing
    (3, ("store-refuses",), "a store that takes documents again is not tried again by itself"),  # not-ready
    (9, ("store-blips",), "each failure in flight doubles the pause"),  # blip
    (0, ("store-slow",), "a page waits for one round trip after another"),  # store-waits
    (24, ("store-slow",), "a page waits for the rest of its probes behind a store that is far away"),  # store-waits
    (3, ("reloads",), "a reload leaves its leases behind"),  # store-waits
    (0, ("clocks-apart",), "a page that another replica confirmed is not used as its clock differs"),  # learned-twice
    (31, ("clocks-apart", "dead"), "dead files stay listed for as long as clocks disagree"),  # dead-listed
    (24, ("clocks-apart", "dead", "new-release"), "verdicts of a replica whose clock is behind are not kept"),  # verdict-lost
    (5, ("store-loses-some",), "what Redis evicts is never written again"),  # page-lost
    (10, ("store-refuses-some",), "a document that was refused counts as written"),  # page-lost
    (1, ("little-memory", "store-emptied"), "a page that memory does not hold is only dated anew"),  # page-lost
    (10, ("store-stuck-leases",), "a lease that does not end makes pages stale"),  # stale
    (15, ("store-breaks-in-flight",), "a lease whose answer was lost holds up a page for its five seconds"),  # store-waits
    (39, ("replicas-restarted",), "a replica that is closed leaves its leases behind"),  # store-waits
    (1455, None, "a document leaves the memory while others are read, and is taken for absent"),  # dead-listed
)
