"""Verdicts decide what a page keeps.

Rules for this file: a file leaves the page only for a verdict of undeliverable; nothing is added, nothing is reordered;
a page is never emptied unless the operator wants it.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from proxy.core.page import File, Packaging, Page, Release
from proxy.core.twins import same_elsewhere
from proxy.core.verdict.judge import Cause, Kind, Verdict, is_undeliverable, latest_denial

_TOGETHER = 10.0
"""Seconds within which the denials of a release's files count as one event: all these files wait for the second one."""


class Held(StrEnum):
    """Why files that were found undeliverable are listed all the same."""

    NOTHING = ""
    EMPTY = "nothing-deliverable"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator chose: see the settings `[verdict]` `empty`, `sdist_only` and `confirm` (seconds)."""

    empty: Literal["keep", "drop"] = "keep"
    sdist_only: Literal["keep-sdist", "drop-release"] = "keep-sdist"
    confirm: float = 180.0


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file that left the page, and the verdict that made it leave; without a verdict it left because its release did."""

    file: File
    verdict: Verdict | None

    @property
    def cause(self) -> str:
        """Why it left, in a word: the cause of the verdict, else `release`."""
        return "release" if self.verdict is None else latest_denial(self.verdict, self.file.size)[0].value


@dataclass(frozen=True, slots=True)
class Mended:
    """A page without what is undeliverable.

    `unknown` are the files kept without a good answer, by cause; `unasked` is how many were not asked about yet.
    `lost` names the releases that left wholly, `sdist_only` those of which only an sdist is left where wheels were listed.
    `awaiting` are the files that only a second confirmation will drop, since they are the last of their release.
    `rescued` are the files that the mirror does not deliver and that stay, since they can be had elsewhere.
    """

    page: Page
    dropped: tuple[Dropped, ...]
    unknown: Mapping[Cause, int]
    unasked: int
    lost: tuple[str, ...] = ()
    sdist_only: tuple[str, ...] = ()
    awaiting: tuple[File, ...] = ()
    held: Held = Held.NOTHING
    rescued: tuple[File, ...] = ()

    @property
    def causes(self) -> Mapping[Cause, int]:
        """How many files were dropped for each cause."""
        return Counter(Cause(each.cause) for each in self.dropped if each.verdict is not None)


def settle(
    page: Page, verdicts: Mapping[str, Verdict], policy: Policy, rescued: Collection[str] = (), *, by_address: bool = False
) -> Mended:
    """Take from `page` what `verdicts` (by the files' keys) prove to be undeliverable, but for those in `rescued`.

    A file stays if the page lists the same bytes at another address that is not denied, from where the proxy gets them;
    `by_address` says that clients get each file from its own address, so that it leaves all the same.
    The last files of a release leave only where two answers, `policy.confirm` seconds apart, agree.
    """
    listed = page.by_key
    # Most verdicts of a large page are good ones: these are passed over once, and not looked at again.
    good = Kind.DELIVERABLE
    others = [(name, verdict) for name, verdict in verdicts.items() if verdict.kind is not good and name in listed]
    denied = [name for name, verdict in others if verdict.kind is Kind.UNDELIVERABLE]
    if not by_address:
        elsewhere = {key for key in denied if _is_elsewhere(page, listed[key], verdicts)}
        denied = [key for key in denied if key not in elsewhere]
    else:
        elsewhere = set()
    drop: dict[str, Dropped] = {}
    awaiting: list[File] = []
    sdist_only: list[str] = []
    lost: list[str] = []
    kept = elsewhere.union(rescued)
    for release in _touched(page, [name for name in denied if name not in rescued]):
        dead = [file for file in release.files if is_undeliverable(verdicts.get(file.key)) and file.key not in kept]
        if len(dead) == len(release.files):
            waiting = _last_denied(dead, verdicts, policy)
            awaiting += waiting
            names = {file.key for file in waiting}
            dead = [file for file in dead if file.key not in names]
        drop |= {file.key: Dropped(file, verdicts[file.key]) for file in dead}
        left = [file for file in release.files if file.key not in drop]
        if not left:
            lost.append(release.spelling)
        elif _only_sdist_left(release, left):
            if policy.sdist_only == "drop-release":
                drop |= {file.key: Dropped(file, None) for file in left}
                lost.append(release.spelling)
            else:
                sdist_only.append(release.spelling)
    held = Held.NOTHING
    if drop and policy.empty == "keep" and len(drop) >= page.probeable and not _anything_left(page, drop):
        drop, sdist_only, lost, held = {}, [], [], Held.EMPTY
    unknown = Counter(verdict.cause for _, verdict in others if verdict.kind is Kind.UNKNOWN)
    unasked = max(0, page.probeable - sum(map(listed.__contains__, verdicts)))
    return Mended(
        page.without(drop.keys()),
        tuple(drop.values()),
        unknown,
        unasked,
        tuple(lost),
        tuple(sdist_only),
        tuple(awaiting),
        held,
        tuple(listed[name] for name in denied if name in rescued),
    )


def _is_elsewhere(page: Page, file: File, verdicts: Mapping[str, Verdict]) -> bool:
    return any(not is_undeliverable(verdicts.get(other.key)) for other in same_elsewhere(page, file))


def _last_denied(dead: list[File], verdicts: Mapping[str, Verdict], policy: Policy) -> list[File]:
    """Gives those of a release's files, all denied, that wait for a second denial: the last ones.

    What left the page before these were denied stays away.
    """
    last = max(verdicts[file.key].since for file in dead)
    together = [file for file in dead if verdicts[file.key].since >= last - _TOGETHER]
    return [file for file in together if not verdicts[file.key].confirmed_for(policy.confirm)]


def _only_sdist_left(release: Release, left: list[File]) -> bool:
    had_wheel = any(file.packaging is Packaging.WHEEL for file in release.files)
    return had_wheel and not any(file.packaging is Packaging.WHEEL for file in left) and any(map(_worth_listing, left))


def _anything_left(page: Page, drop: Mapping[str, Dropped]) -> bool:
    return any(_worth_listing(file) for file in page.files if file.key not in drop)


def _worth_listing(file: File) -> bool:
    return file.packaging is not Packaging.LEGACY


def _touched(page: Page, denied: list[str]) -> list[Release]:
    """Gives the releases that hold one of these files of the page, newest first."""
    if not denied:
        return []
    touched = {page.release_of(page.by_key[name]).spelling for name in denied}
    return [release for release in page.releases if release.spelling in touched]
