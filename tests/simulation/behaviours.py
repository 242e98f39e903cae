"""The ways in which a simulated mirror misbehaves, by name."""

from tests.simulation.answers import (
    AsksForPause,
    HeadAndRangeRefused,
    HeadPromises,
    HeadRefused,
    HeadWithBody,
    MetadataAndRangesFail,
    MetadataFails,
    PathFailures,
    RangeIgnored,
    RangeRefused,
    Redirects,
    Status203,
    TypedAsPage,
    WrongLengths,
)
from tests.simulation.behaviour import Behaviour
from tests.simulation.contents import Absences, Dead, Lag, NewRelease, Quarantine, Rights, SignedLinks
from tests.simulation.crowds import (
    BrownOut,
    ColdCache,
    ColdCredentials,
    Hiccups,
    LimitAtOnce,
    LimitPerSecond,
    Nodes,
    NodesByConnection,
    RandomDenials,
    Resets,
)
from tests.simulation.outages import ClockJumps, DenyingOutage, OlderPage, Outage, PageForms, Restarts, SlowPage

BEHAVIOURS: dict[str, type[Behaviour]] = {
    "limit": LimitAtOnce,
    "cold-cache": ColdCache,
    "rate": LimitPerSecond,
    "nodes": Nodes,
    "nodes-by-connection": NodesByConnection,
    "random-denials": RandomDenials,
    "brown-out": BrownOut,
    "hiccups": Hiccups,
    "lag": Lag,
    "new-release": NewRelease,
    "path-failures": PathFailures,
    "metadata-fails": MetadataFails,
    "metadata-and-ranges-fail": MetadataAndRangesFail,
    "head-refused": HeadRefused,
    "range-refused": RangeRefused,
    "head-and-range-refused": HeadAndRangeRefused,
    "head-with-body": HeadWithBody,
    "status-203": Status203,
    "range-ignored": RangeIgnored,
    "typed-as-page": TypedAsPage,
    "wrong-lengths": WrongLengths,
    "outage": Outage,
    "denying-outage": DenyingOutage,
    "restart": Restarts,
    "clock": ClockJumps,
    "rights": Rights,
    "quarantine": Quarantine,
    "dead": Dead,
    "absences": Absences,
    "redirects": Redirects,
    "slow-page": SlowPage,
    "asks-for-pause": AsksForPause,
    "older-page": OlderPage,
    "resets": Resets,
    "cold-credentials": ColdCredentials,
    "page-forms": PageForms,
    "signed-links": SignedLinks,
}
"""By the names that `--behaviour` takes."""

DRAWN = tuple(BEHAVIOURS)

BEHAVIOURS["head-promises"] = HeadPromises
"""Those that a history draws by itself. Links that expire are not among them: nothing is promised yet for what an older page links to."""
