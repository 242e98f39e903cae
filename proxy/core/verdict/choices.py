"""Which releases of a page a resolver may choose, by the requirements on the project that were read.

A resolver takes the newest release that satisfies some of the requirements together: which of them, depends on what it has chosen
elsewhere. A release may therefore be chosen if no newer one satisfies all that it satisfies. The Python that a release wants counts
as a requirement, and so does whether the client can install anything of it.
Rules for this file: it is a function of the page, of requirements and verdicts; its work is bounded.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from operator import itemgetter

from proxy.core.page import Packaging, Page, Release
from proxy.core.requirements import OLDEST_PYTHON, asks_for_pre_releases, satisfies
from proxy.core.verdict.client import ClientPlatform, admits_python, fitness
from proxy.core.verdict.judge import Verdict, is_undeliverable

_MOST_COMPARISONS = 6000
"""Comparisons of a version with a specifier, for one page: a few milliseconds."""

_MOST_CHOICES = 24
_OF_THE_CLIENT = 2
"""Bits for what fits the client, after those of the specifiers; those of older Pythons come last."""


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What releases are compared by: requirements, what fits the client, and what is known to be undeliverable."""

    specifiers: Sequence[str]
    client: ClientPlatform | None
    verdicts: Mapping[str, Verdict]

    @property
    def likely(self) -> int:
        """The bits that make a release likelier: older Pythons than the client's do not."""
        return (1 << (len(self.specifiers) + (0 if self.client is None else _OF_THE_CLIENT))) - 1

    @property
    def everything(self) -> int:
        """All bits that a release can have."""
        older = 0 if self.client is None else len(_older_pythons(self.client.python))
        return (1 << (self.likely.bit_length() + older)) - 1

    @property
    def asking(self) -> int:
        """The bits of requirements that name a pre-release."""
        return sum(1 << number for number, each in enumerate(self.specifiers) if asks_for_pre_releases(each))

    def met_by(self, release: Release) -> int:
        """Return the bits of what `release` satisfies."""
        mask = sum(1 << number for number, each in enumerate(self.specifiers) if satisfies(each, release.spelling))
        for number, fits in enumerate(_fits(release, self.client)):
            mask |= fits << (len(self.specifiers) + number)
        return mask

    def pass_over(self, release: Release) -> bool:
        """Return whether a resolver passes over `release`: all that it has is proven undeliverable, yanked, or nothing to install."""
        return all(not file.probeable or file.yanked or is_undeliverable(self.verdicts.get(file.key)) for file in release.files)


@dataclass(slots=True)
class _Front:
    """Releases that may be chosen, each with how many likely wishes it meets.

    `masks` are the wishes that those meet that stand in the way of others, each with the release's place on the page.
    """

    found: list[tuple[int, Release]] = field(default_factory=list)
    masks: list[tuple[int, int]] = field(default_factory=list)

    def add(self, wishes: _Wishes, place: int, release: Release, mask: int) -> None:
        """Add a release, the one at that place of the page, which meets these wishes."""
        self.found.append(((mask & wishes.likely).bit_count(), release))
        if not wishes.pass_over(release):
            self.masks.append((place, mask))


def choices(
    page: Page, specifiers: Sequence[str], client: ClientPlatform | None = None, verdicts: Mapping[str, Verdict] | None = None
) -> tuple[Release, ...]:
    """Return the releases of `page` that a resolver may choose, those that satisfy most of `specifiers` first.

    Pre-releases are among them where nothing else satisfies, or a specifier names one. A release of which every file is
    undeliverable or yanked leaves its place to older ones.
    """
    limit = len(page.releases) if not specifiers else 1 + _MOST_COMPARISONS // len(specifiers)
    listed = [release for release in page.releases if release.version is not None][:limit]
    wishes, finals = _Wishes(specifiers, client, verdicts or {}), _Front()
    everything = wishes.everything
    complete = False
    for place, release in enumerate(listed):
        if _is_pre_release(release):
            continue
        mask = wishes.met_by(release)
        if any(mask | better == better for _, better in finals.masks):
            continue
        finals.add(wishes, place, release, mask)
        complete = bool(finals.masks) and finals.masks[-1] == (place, everything)
        if complete or len(finals.found) == _MOST_CHOICES:
            break
    found = finals.found
    if not complete or wishes.asking:
        found += _pre_releases(listed, wishes, finals.masks)
    found.sort(key=itemgetter(0), reverse=True)
    return tuple(release for _, release in found[:_MOST_CHOICES])


def _pre_releases(listed: Sequence[Release], wishes: _Wishes, finals: Collection[tuple[int, int]]) -> list[tuple[int, Release]]:
    front = _Front()
    for place, release in enumerate(listed):
        if not _is_pre_release(release):
            continue
        mask = wishes.met_by(release)
        # One that a requirement names gives way to newer releases only, any other one to older finals as well.
        in_the_way = (better for at, better in finals if at < place or not mask & wishes.asking)
        if any(mask | better == better for better in chain((each for _, each in front.masks), in_the_way)):
            continue
        front.add(wishes, place, release, mask)
        if len(front.found) == _MOST_CHOICES:
            break
    return front.found


def _is_pre_release(release: Release) -> bool:
    return release.version is not None and release.version.is_prerelease


def _fits(release: Release, client: ClientPlatform | None) -> Sequence[bool]:
    """Return whether `release` admits the client's Python, whether the client could install a file, and which older Pythons one admits."""
    if client is None:
        return ()
    wanted = {file.requires_python for file in release.files}
    everywhere = None in wanted
    admitted = [everywhere or any(admits_python(text, python) for text in wanted if text) for python in _older_pythons(client.python)]
    own = [file for file in release.files if file.requires_python is None or admits_python(file.requires_python, client.python)]
    return (bool(own), any(file.packaging is Packaging.SDIST or fitness(file, client) is not None for file in own), *admitted)


@lru_cache(maxsize=64)
def _older_pythons(python: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Return the older Pythons that a client with that `python` may lock for as well."""
    return tuple((3, minor) for minor in range(OLDEST_PYTHON, python[1])) if python[0] == 3 else ()
