"""Which releases of a page a resolver may choose, by the requirements on the project that were read.

A resolver takes the newest release that satisfies some of the requirements together: which of them, depends on what it has chosen
elsewhere. A release may therefore be chosen if no newer one satisfies all that it satisfies. The Python that a release wants counts
as a requirement, and so does whether the client can install anything of it.
Rules for this file: it is a function of the page, of requirements and verdicts; its work is bounded.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from proxy.core.page import Packaging, Page, Release
from proxy.core.requirements import asks_for_pre_releases, satisfies
from proxy.core.verdict.client import ClientPlatform, admits_python, fitness
from proxy.core.verdict.judge import Verdict, is_undeliverable

_MOST_COMPARISONS = 6000
"""Comparisons of a version with a specifier, for one page: a few milliseconds."""

_MOST_CHOICES = 24


@dataclass(frozen=True, slots=True)
class Choice:
    """A release that may be chosen, and how many of the requirements it satisfies."""

    release: Release
    satisfied: int


def choices(
    page: Page, specifiers: Sequence[str], client: ClientPlatform | None = None, verdicts: Mapping[str, Verdict] | None = None
) -> tuple[Release, ...]:
    """Return the releases of `page` that a resolver may choose, those that satisfy most of `specifiers` first.

    Pre-releases are among them where nothing else satisfies, or a specifier names one. A release of which every file is
    undeliverable or yanked leaves its place to older ones.
    """
    limit = len(page.releases) if not specifiers else 1 + _MOST_COMPARISONS // len(specifiers)
    listed = [release for release in page.releases if release.version is not None][:limit]
    finals = [(place, release) for place, release in enumerate(listed) if not _is_pre_release(release)]
    everything = (1 << (len(specifiers) + 2)) - 1
    front: list[tuple[int, int]] = []
    found: list[Choice] = []
    for place, release in finals:
        mask = _mask(release, specifiers, client)
        if any(mask | better == better for _, better in front):
            continue
        found.append(Choice(release, mask.bit_count()))
        if not _leaves_its_place(release, verdicts):
            front.append((place, mask))
            if mask == everything:
                break
        if len(found) == _MOST_CHOICES:
            break
    if not any(mask == everything for _, mask in front) or any(asks_for_pre_releases(each) for each in specifiers):
        found += _pre_releases(listed, specifiers, client, verdicts, front)
    found.sort(key=lambda choice: choice.satisfied, reverse=True)
    return tuple(choice.release for choice in found[:_MOST_CHOICES])


def _pre_releases(
    listed: Sequence[Release],
    specifiers: Sequence[str],
    client: ClientPlatform | None,
    verdicts: Mapping[str, Verdict] | None,
    finals: Collection[tuple[int, int]],
) -> list[Choice]:
    asking = sum(1 << number for number, each in enumerate(specifiers) if asks_for_pre_releases(each))
    front: list[int] = []
    found: list[Choice] = []
    for place, release in enumerate(listed):
        if not _is_pre_release(release) or len(found) == _MOST_CHOICES:
            continue
        mask = _mask(release, specifiers, client)
        # One that a requirement names gives way to newer releases only, any other one to older finals as well.
        in_the_way = (better for at, better in finals if at < place or not mask & asking)
        if any(mask | better == better for better in (*front, *in_the_way)):
            continue
        found.append(Choice(release, mask.bit_count()))
        if not _leaves_its_place(release, verdicts):
            front.append(mask)
    return found


def _is_pre_release(release: Release) -> bool:
    return release.version is not None and release.version.is_prerelease


def _mask(release: Release, specifiers: Sequence[str], client: ClientPlatform | None) -> int:
    mask = sum(1 << number for number, each in enumerate(specifiers) if satisfies(each, release.spelling))
    for number, fits in enumerate(_fits(release, client)):
        mask |= fits << (len(specifiers) + number)
    return mask


def _fits(release: Release, client: ClientPlatform | None) -> tuple[bool, bool]:
    """Return whether some file of `release` is for the client's Python, and whether it could install one."""
    if client is None:
        return True, True
    admitted = [file for file in release.files if file.requires_python is None or admits_python(file.requires_python, client.python)]
    installable = any(file.packaging is Packaging.SDIST or fitness(file, client) is not None for file in admitted)
    return bool(admitted), installable


def _leaves_its_place(release: Release, verdicts: Mapping[str, Verdict] | None) -> bool:
    """Return whether a resolver passes over `release`: all that it has is proven undeliverable, yanked, or nothing that it installs."""
    known = verdicts or {}
    return all(not file.probeable or file.yanked or is_undeliverable(known.get(file.key)) for file in release.files)
