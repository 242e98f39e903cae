"""How many denials of a file prove that the mirror does not have it.

A 404 or 403 from a crowd of requests is a suspicion: a limit on simultaneous requests, one bad node behind a load balancer, random
failures and outages answer so for files that the mirror delivers to a client that asks alone. A denial is therefore repeated, in
rounds of few requests in random order, among which are files known to be good. The rules below say when the repetitions are enough.

Two kinds of false denials are held below `WRONG_DROP`, the probability of a wrong drop for one file and one page view:

- They hit any file alike (a limit, random failures): where each request is denied with probability q, a file is denied n times while
  w other requests in between are all delivered with probability q^n (1-q)^w. Whatever q is, that is at most n^n w^w / (n+w)^(n+w).
- They hit one file on some of the mirror's nodes: the other files say nothing about it, only its own repetitions do. `DENIALS` of
  them are as improbable as that where half of the nodes lack the file, `DENIALS_IF_INCONSISTENT` where two of three do. The second
  number is asked for once the mirror denied and delivered the same file.

A crowd of our own requests may deny what no repetition in it shows, such as the slots of a cache for files that it has not yet. So the last
repetition is made alone, with no other probe under way. For a platform that the mirror lacks altogether (`PlatformDenials`) some files are
proven so, and each of the many others costs two requests.
Rules for this file: pure arithmetic and counters; it asks nothing and knows no clock.
"""

from enum import Enum
from math import exp, log

from proxy.core.page import File

WRONG_DROP = 1e-4
"""The greatest probability of a wrong drop, for one file and one page view."""

DENIALS = 14
"""Denials of one file in a row that prove its absence: 0.5 ** 14 is below WRONG_DROP."""

DENIALS_IF_INCONSISTENT = 24
"""The same at a mirror that was seen to deny and deliver one and the same file: (2 / 3) ** 24 is below WRONG_DROP."""

DENIALS_OF_LACKING_PLATFORM = 2
"""The same for a file of a platform that the mirror lacks: the denial that raised the suspicion, and one repetition."""

DENIALS_TO_CONFIRM = 2
"""The same for a file that was proven absent before."""

CONFIRMED_WRONGLY = 1e-2
"""The greatest probability that a proof is confirmed wrongly: it was below WRONG_DROP before."""

PLATFORM_FILES = 4
"""Files of a platform that are proven absent, each on its own account, before the mirror is taken to lack all of that platform."""


def chance_of_false_denials(denials: int, delivered: int) -> float:
    """Return the greatest probability that a healthy file is denied `denials` times while `delivered` others are not denied once.

    It is the maximum over q of q^denials (1-q)^delivered: false denials that hit any file alike, with whatever probability.
    """
    both = denials + delivered
    if denials == 0 or delivered == 0:
        return 1.0
    return exp(denials * log(denials / both) + delivered * log(delivered / both))


class Suspicion(Enum):
    """Says what else speaks for the absence of a file that was denied."""

    OF_FILE = "file"
    """Nothing."""
    OF_PLATFORM = "platform"
    """The mirror has no file of its platform."""
    CONFIRMED = "confirmed"
    """It was proven absent before."""


def proves_absence(denials: int, delivered: int, suspicion: Suspicion = Suspicion.OF_FILE, *, inconsistent: bool = False) -> bool:
    """Return whether a file that was denied `denials` times in a row is absent.

    `delivered` counts the good answers for other files since its first denial, with no denial of a known-good file among them;
    `inconsistent` says that the mirror contradicted itself lately.
    """
    return denials >= _enough(suspicion, inconsistent) and chance_of_false_denials(denials, delivered) <= _wrong(suspicion)


def missing_answers(
    denials: int, delivered: int, suspicion: Suspicion = Suspicion.OF_FILE, *, inconsistent: bool = False
) -> tuple[int, int]:
    """Return how many more denials of the file, and good answers for others, would prove its absence; see `proves_absence`."""
    wrong = _wrong(suspicion)
    enough = max(denials, _enough(suspicion, inconsistent))
    good = delivered
    while chance_of_false_denials(enough, good) > wrong:
        if good < enough:
            good += 1
        else:
            enough += 1
    return enough - denials, good - delivered


def _wrong(suspicion: Suspicion) -> float:
    return CONFIRMED_WRONGLY if suspicion is Suspicion.CONFIRMED else WRONG_DROP


def _enough(suspicion: Suspicion, inconsistent: bool) -> int:
    if suspicion is Suspicion.CONFIRMED:
        return DENIALS_TO_CONFIRM
    if inconsistent:
        return DENIALS_IF_INCONSISTENT
    return DENIALS_OF_LACKING_PLATFORM if suspicion is Suspicion.OF_PLATFORM else DENIALS


class PlatformDenials:
    """Knows which platforms the mirror lacks: files of them were proven absent, and none was delivered.

    `files` are the names of files that were denied, by the part of the name that files of one platform share, at most some of each.
    """

    _EXPECTED_AFTER = 3

    def __init__(self) -> None:
        self.files: dict[str, set[str]] = {}
        self._proven: dict[str, set[str]] = {}

    def delivered(self, file: File) -> None:
        """Record that `file` was delivered: the mirror has its platform."""
        for tag in [tag for tag in self.files if tag in file.filename]:
            del self.files[tag]
            self._proven.pop(tag, None)

    def denied(self, file: File) -> None:
        """Record that `file` was denied."""
        names = self.files.setdefault(platform_tag(file), set())
        if len(names) < self._EXPECTED_AFTER:
            names.add(file.filename)

    def proven(self, file: File) -> None:
        """Record that `file` was proven absent on its own account."""
        names = self._proven.setdefault(platform_tag(file), set())
        if len(names) < PLATFORM_FILES:
            names.add(file.filename)

    def reset(self) -> None:
        """Forget all: the mirror contradicted itself."""
        self.files.clear()
        self._proven.clear()

    def expects_denial(self, file: File) -> bool:
        """Return whether `file` will probably be denied, so that asking by HEAD first is a wasted request."""
        return any(len(names) >= self._EXPECTED_AFTER and tag in file.filename for tag, names in self.files.items())

    def lacks(self, file: File) -> bool:
        """Return whether so many files of this platform were proven absent, and none was delivered, that one repetition is enough."""
        return len(self._proven.get(platform_tag(file), ())) >= PLATFORM_FILES


def platform_tag(file: File) -> str:
    """Return the part of the name that all wheels for one system share, such as `-macosx_`; for an sdist its suffix."""
    name = file.filename
    if not name.endswith(".whl"):
        return name[name.rfind(".") :]
    tag = name[name.rfind("-") :]
    return tag[: tag.find("_") + 1] or tag
