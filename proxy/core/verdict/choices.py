"""Which releases of a page a resolver may choose, by the requirements on the project that were read.

A resolver takes the newest release that satisfies some of the requirements together: which of them, depends on what it has chosen
elsewhere. A release may therefore be chosen if no newer one satisfies all that it satisfies. Where these are too many, the newest release
for each requirement is more important than those for some of them together. The Python that a release wants counts
as a requirement, and so does whether the client can install anything of it.
Rules for this file: it is a function of the page, of requirements and verdicts; its work is bounded.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice

from packaging.version import Version

from proxy.core.page import Packaging, Page, Release
from proxy.core.requirements import OLDEST_PYTHON, asks_for_pre_releases, bounds, satisfies, without_local
from proxy.core.verdict.client import ClientPlatform, admits_python, fitness
from proxy.core.verdict.judge import Verdict, is_undeliverable

_MOST_COMPARISONS = 6000
"""Comparisons of a version with a specifier, for the newest releases of one page: a few milliseconds."""

_MOST_SEARCHED = 2000
"""The same for the search of the newest release that satisfies each specifier, and for those about it."""

_LEAST_SEARCHED = 50
"""Releases that are looked at for one specifier, however many specifiers there are."""

_MOST_SUITED = 200
"""Releases of one page that are compared with the client while the newest for each specifier is searched."""

_MOST_CHOICES = 24
"""Releases that may be chosen, if those are not more that are the newest for some specifier."""

_MOST_FOUND = 64
"""Releases of which the likeliest are the choices."""

_OF_THE_CLIENT = 2
"""Bits for what fits the client, after those of the specifiers; those of older Pythons come last."""


@dataclass(frozen=True, slots=True)
class _Wishes:
    """Hold what releases are compared by: requirements, what fits the client, and what is known to be undeliverable."""

    specifiers: Sequence[str]
    client: ClientPlatform | None
    verdicts: Mapping[str, Verdict]
    suiting: dict[str, bool] = field(default_factory=dict)

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

    def suits(self, release: Release) -> bool:
        """Return whether the client could install something of `release`; once many were looked at, that is taken for granted."""
        known = self.suiting.get(release.spelling)
        if known is None:
            known = self.client is None or len(self.suiting) >= _MOST_SUITED or all(_fits_client(release, self.client))
            if len(self.suiting) < _MOST_SUITED:
                self.suiting[release.spelling] = known
        return known

    def pass_over(self, release: Release) -> bool:
        """Return whether a resolver passes over `release`: all that it has is proven undeliverable, yanked, or nothing to install."""
        return all(not file.probeable or file.yanked or is_undeliverable(self.verdicts.get(file.key)) for file in release.files)


@dataclass(slots=True)
class _Front:
    """Releases that may be chosen by their places on the page, each with how many likely wishes it meets.

    `masks` are the wishes that those meet that stand in the way of others, each with the release's place on the page.
    """

    found: dict[int, int] = field(default_factory=dict)
    masks: list[tuple[int, int]] = field(default_factory=list)

    def add(self, wishes: _Wishes, place: int, release: Release, mask: int) -> None:
        """Add a release, the one at that place of the page, which meets these wishes."""
        self.found[place] = (mask & wishes.likely).bit_count()
        if not wishes.pass_over(release):
            self.masks.append((place, mask))

    def has_room(self, place: int, picks: Collection[int]) -> bool:
        """Return whether the release at `place` may be added; the `picks` always may."""
        return len(self.found) < _MOST_FOUND or place in picks


def choices(
    page: Page, specifiers: Sequence[str], client: ClientPlatform | None = None, verdicts: Mapping[str, Verdict] | None = None
) -> tuple[Release, ...]:
    """Return the releases of `page` that a resolver may choose, the likeliest first; of `specifiers` the first was read last.

    The first release satisfies most of `specifiers`. The newest for each of them follow, in their order, and then the others, those
    first that satisfy most. Pre-releases are among them where nothing else satisfies, or a specifier names one. A release of which every
    file is undeliverable or yanked leaves its place to older ones.
    """
    wishes, finals = _Wishes(specifiers, client, verdicts or {}), _Front()
    perfect = _perfect(page, wishes)
    if perfect is not None:
        return (perfect,)
    releases = [release for release in page.releases if release.version is not None]
    picks, places = _looked_at(releases, wishes)
    everything = wishes.everything
    complete = False
    for place in places:
        release = releases[place]
        if _is_pre_release(release) or not finals.has_room(place, picks):
            continue
        mask = wishes.met_by(release)
        if any(mask | better == better for _, better in finals.masks):
            continue
        finals.add(wishes, place, release, mask)
        complete = bool(finals.masks) and finals.masks[-1] == (place, everything)
        if complete:
            break
    found = finals.found
    if not complete or wishes.asking:
        found |= _pre_releases(releases, wishes, places, picks, finals.masks)
    likely = sorted(found, key=lambda place: -found[place])
    ordered = dict.fromkeys((*likely[:1], *(place for place in picks if place in found), *likely))
    return tuple(releases[place] for place in islice(ordered, max(_MOST_CHOICES, len(picks) + 1)))


def _perfect(page: Page, wishes: _Wishes) -> Release | None:
    """Return the newest final release of `page` where it leaves nothing to wish for, and so no other one may be chosen; None where it does.

    That is so for most pages, of which nothing else need be looked at then.
    """
    newest = next((release for release in page.releases if release.version is not None and not release.version.is_prerelease), None)
    if newest is None or wishes.asking or wishes.pass_over(newest) or wishes.met_by(newest) != wishes.everything:
        return None
    return newest


def _looked_at(releases: Sequence[Release], wishes: _Wishes) -> tuple[Collection[int], Sequence[int]]:
    """Return the places of the newest release that satisfies each specifier, and those of all that are looked at."""
    count = len(wishes.specifiers)
    if not count:
        return {}, range(len(releases))
    picks: dict[int, None] = {}
    places = set(range(min(len(releases), 1 + _MOST_COMPARISONS // count)))
    about = _MOST_SEARCHED // count**2
    for specifiers in (*((each,) for each in wishes.specifiers), wishes.specifiers):
        pick, found = _newest(releases, wishes, specifiers, _LEAST_SEARCHED + _MOST_SEARCHED // count)
        places.update(found)
        if pick is not None:
            picks[pick] = None
            places.update(range(pick, min(len(releases), pick + about)))
    return picks, sorted(places)


def _newest(releases: Sequence[Release], wishes: _Wishes, specifiers: Sequence[str], most: int) -> tuple[int | None, Collection[int]]:
    """Return the place of the newest release that satisfies all of `specifiers`, and the places of the newest ones by other measures.

    These measures are whether it is a pre-release, and whether the client could install it. At most `most` releases are looked at.
    """
    final = suiting = pre_release = None
    for place in _span(releases, specifiers)[:most]:
        release = releases[place]
        if not all(satisfies(each, release.spelling) for each in specifiers) or wishes.pass_over(release):
            continue
        if _is_pre_release(release):
            pre_release = place if pre_release is None else pre_release
            continue
        final = place if final is None else final
        if wishes.suits(release):
            suiting = place
            break
    if pre_release is not None and any(map(asks_for_pre_releases, specifiers)):
        pick: int | None = pre_release
    else:
        pick = next((place for place in (suiting, final, pre_release) if place is not None), None)
    return pick, {place for place in (final, suiting, pre_release) if place is not None}


def _span(releases: Sequence[Release], specifiers: Sequence[str]) -> range:
    """Return the places of the releases, newest first, that are within the bounds of all `specifiers`."""
    first, end = 0, len(releases)
    for lowest, highest in map(bounds, specifiers):
        if highest is not None:
            first = max(first, bisect_left(releases, True, key=lambda each: _base(each) <= highest))
        if lowest is not None:
            end = min(end, bisect_left(releases, True, key=lambda each: _base(each) < lowest))
    return range(first, max(first, end))


def _base(release: Release) -> Version:
    return without_local(release.version or Version("0"))


def _pre_releases(
    releases: Sequence[Release],
    wishes: _Wishes,
    places: Sequence[int],
    picks: Collection[int],
    finals: Collection[tuple[int, int]],
) -> dict[int, int]:
    front = _Front()
    for place in places:
        release = releases[place]
        if not _is_pre_release(release) or not front.has_room(place, picks):
            continue
        mask = wishes.met_by(release)
        # One that a requirement names gives way to newer releases only, any other one to older finals as well.
        in_the_way = (better for at, better in finals if at < place or not mask & wishes.asking)
        if any(mask | better == better for better in chain((each for _, each in front.masks), in_the_way)):
            continue
        front.add(wishes, place, release, mask)
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
    return (*_fits_client(release, client), *admitted)


def _fits_client(release: Release, client: ClientPlatform) -> tuple[bool, bool]:
    """Return whether `release` admits the client's Python, and whether the client could install a file of it."""
    own = [file for file in release.files if file.requires_python is None or admits_python(file.requires_python, client.python)]
    # Mostly an sdist is the last one.
    return bool(own), any(file.packaging is Packaging.SDIST or fitness(file, client) is not None for file in reversed(own))


@lru_cache(maxsize=64)
def _older_pythons(python: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Return the older Pythons that a client with that `python` may lock for as well."""
    return tuple((3, minor) for minor in range(OLDEST_PYTHON, python[1])) if python[0] == 3 else ()
