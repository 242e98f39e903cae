"""Which files to ask the mirror about, and in which order.

The order is that of worth: what a resolver reads of the releases that it may choose and what the asking client would install of them,
then all other files of these, since a lock made now will name those of one of them: for these the page waits. They are the newest final
release, what `choices` makes of the requirements on the project that were read, and what clients asked for lately.
Then what the mirror denied some time ago, what a resolver reads of the other newest releases, the rest of these,
what a resolver could read of older ones, and everything else, newest first.
Rules for this file: it is a function of the page, of what is known, of the time and of the client; it never asks.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, repeat, takewhile
from operator import attrgetter

from proxy.core.page import File, Packaging, Page, Release
from proxy.core.verdict.budget import Confirmed
from proxy.core.verdict.choices import choices
from proxy.core.verdict.client import ClientPlatform, fitness, runs_on
from proxy.core.verdict.judge import Kind, Verdict, VerdictRules, is_undeliverable
from proxy.core.verdict.proof import platform_tag
from proxy.core.verdict.reason import Reason

NEWEST_FINALS = 3
"""Final releases that a resolver is likely to look at; a pre-release newer than all of them counts besides."""

CONFIRMED_OF_PLATFORM = 3
"""So many files of each platform are asked for by a GET though HEAD says what is to be had, to see whether it tells the truth."""

_filename = attrgetter("filename")
_YOUNG = 3600.0
_STEP = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """The files to ask about: `first` is what the page waits for, `rest` follows as long as patience lasts.

    `more` says that the budget left some out. `reasons` are those for which the page waits, by the files' keys.
    """

    first: tuple[File, ...]
    rest: tuple[File, ...]
    more: bool
    reasons: Mapping[str, Reason] = field(default_factory=dict, compare=False)

    def reason(self, file: File) -> Reason:
        """Return why `file` is asked about."""
        return self.reasons.get(file.key, Reason.BACKGROUND)

    @property
    def files(self) -> tuple[File, ...]:
        """All files to ask about, in their order."""
        return self.first + self.rest


def due(
    file: File, verdict: Verdict | None, now: float, rules: VerdictRules, *, awaiting: bool = False, seen_since: float | None = None
) -> bool:
    """Return whether it is time to ask the mirror about `file` (again); `now` is in seconds since the epoch.

    `awaiting` says that only a second confirmation is missing to drop the file, the last of its release.
    `seen_since` is when the page listed the file first (None: long ago). A clock that went back makes everything due.
    """
    if verdict is None or not file.probeable:
        return file.probeable
    age = now - verdict.checked
    if age < 0:
        return True
    if verdict.kind is Kind.DELIVERABLE:
        return age >= rules.yes or now - verdict.evidence.at >= 2 * rules.yes
    if verdict.kind is Kind.UNKNOWN:
        # What stays unknown is asked about ever more rarely: a mirror in trouble is not to be asked more than one in health.
        return age >= max(rules.no_young, min(rules.no, verdict.checked - verdict.since))
    if is_young(file, seen_since, verdict.evidence.at):
        return age >= min(rules.no, rules.no_young)
    if awaiting:
        return age >= rules.confirm
    # The longer a file was denied, the more rarely it is asked for: what was an outage is put right soon after it.
    return age >= min(rules.no, max(rules.no_young, verdict.checked - verdict.since))


def is_young(file: File, seen_since: float | None, at: float) -> bool:
    """Return whether `file` may still be on its way to the mirror: uploaded, or listed first, within the hour before `at`.

    `seen_since` and `at` are in seconds since the epoch; where the page tells the upload time, that decides.
    """
    uploaded = _upload_time(file.upload_time) if file.upload_time else None
    if uploaded is not None:
        return -_YOUNG < at - uploaded < _YOUNG
    return seen_since is not None and abs(at - seen_since) < _YOUNG


def _upload_time(text: str) -> float | None:
    try:
        uploaded = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return uploaded.timestamp() if uploaded.tzinfo is not None else None


def newest(page: Page) -> tuple[Release, ...]:
    """Gives the releases that a resolver is likely to look at: the newest finals, and pre-releases newer than all finals, one of them."""
    chosen: list[Release] = []
    finals = 0
    for release in page.releases:
        if release.version is None or finals == NEWEST_FINALS:
            break
        if not release.version.is_prerelease:
            finals += 1
        elif chosen:
            continue
        chosen.append(release)
    return tuple(chosen)


def resolver_picks(release: Release) -> tuple[File, ...]:
    """Gives the files of which a resolver may read the metadata: for each Python tag the first wheel by name, else the sdist.

    uv takes a wheel with a build tag before all others, and among the rest the first by name that fits the project's requires-python.
    """
    wheels = by_resolver_order(release.files)
    if not wheels:
        return tuple(file for file in release.files if file.packaging is Packaging.SDIST)[:1]
    picks: dict[str, File] = {}
    for wheel in wheels:
        picks.setdefault(_python_tag(wheel.filename), wheel)
    return tuple(picks.values())


def by_resolver_order(files: Iterable[File]) -> list[File]:
    """Gives the wheels among `files` in the order in which uv would choose one to read."""
    wheels = [file for file in files if file.filename.endswith(".whl")]
    if len(wheels) > 1:
        wheels.sort(key=_filename)
        # Those alike in this stay in the order of their names.
        wheels.sort(key=_has_no_build)
    return wheels


def _has_no_build(wheel: File) -> bool:
    name = wheel.filename
    # Six parts instead of five: there is a build tag.
    return name.count("-") != 5 or not name.split("-", 3)[2]


def _python_tag(wheel: str) -> str:
    parts = wheel.split("-")
    return parts[-3] if len(parts) in {5, 6} else ""


def install_pick(release: Release, client: ClientPlatform) -> File | None:
    """Gives the wheel of `release` that this client would install, as far as the names tell."""
    fitting = [(score, file.filename, file) for file in release.files if (score := fitness(file, client)) is not None]
    return max(fitting, key=lambda each: each[:2])[2] if fitting else None


def confirmed_by_get(page: Page, asked: Iterable[File], releases: Collection[str] | None, rule: Confirmed) -> list[File]:
    """Return those of the `asked` files that an audit asks for by a GET besides, whatever HEAD said of them.

    `releases` are the spellings of those that are wanted, None for those that a resolver looks at first.
    """
    asked = list(asked)
    if rule is Confirmed.ALL:
        return asked
    chosen = [each for each in page.releases if each.spelling in releases] if releases is not None else newest(page)
    keys = {file.key for release in chosen for file in (release.files if rule is Confirmed.CHOSEN else resolver_picks(release))}
    counts: Counter[str] = Counter()
    for file in asked:
        tag = platform_tag(file)
        counts[tag] += 1
        if counts[tag] <= CONFIRMED_OF_PLATFORM:
            keys.add(file.key)
    return [file for file in asked if file.key in keys]


def reading_picks(
    page: Page,
    verdicts: Mapping[str, Verdict],
    client: ClientPlatform | None,
    *,
    lacks: Callable[[File], bool] | None = None,
    likely: Iterable[Release] = (),
) -> tuple[File, ...]:
    """Return the file whose metadata uv is likely to read next, the first wheel that fits the client's Python.

    It is of the first of the `likely` releases, else of the newest final one.
    A wheel that the mirror `lacks` by all appearances will have left the page by then, so the next one is. Of a release that never had a
    wheel it is the sdist. Empty where none is left that is not known to be undeliverable.
    """
    finals = (release for release in page.releases if release.version is not None and not release.version.is_prerelease)
    for release in chain(likely, finals):
        picks = [wheel for wheel in by_resolver_order(release.files) if client is None or runs_on(wheel, client)]
        has_wheels = any(file.packaging is Packaging.WHEEL for file in release.files)
        if not has_wheels:
            picks = [file for file in release.files if file.packaging is Packaging.SDIST and file.filename.endswith(".tar.gz")]
        if picks or not has_wheels:
            left = [file for file in picks if not is_undeliverable(verdicts.get(file.key))]
            deliverable = left if lacks is None else [file for file in left if not lacks(file)]
            return tuple((deliverable or left)[:1])
    return ()


def awaited_releases(
    page: Page,
    verdicts: Mapping[str, Verdict],
    client: ClientPlatform | None,
    *,
    specifiers: Sequence[str] = (),
    certain: Sequence[str] | None = None,
    demanded: Collection[str] = (),
) -> Mapping[str, Reason]:
    """Return the spellings of the releases that `page` waits for and why, the likeliest first.

    `specifiers` are of requirements on the project that were read, `certain` those of them that hold for the client without any extra
    (None: all), `demanded` the releases that clients asked for lately.
    """
    found: dict[str, Reason] = {}
    newest_final = next((release for release in page.releases if release.version is not None and not release.version.is_prerelease), None)
    chosen = choices(page, specifiers, client, verdicts)
    if certain is not None and len(certain) != len(specifiers):
        chosen = (*choices(page, certain, client, verdicts)[:1], *chosen)
    for release in chosen:
        is_newest = release is newest_final or (newest_final is None and len(chosen) == 1)
        found.setdefault(release.spelling, Reason.AWAITED if is_newest else Reason.CONSTRAINT)
    for spelling in demanded:
        found.setdefault(spelling, Reason.DEMAND)
    return found


def order(
    page: Page, verdicts: Mapping[str, Verdict], client: ClientPlatform | None, awaited: Mapping[str, Reason] | None = None
) -> Iterator[tuple[Reason, File]]:
    """Yield all files of `page` in the order of worth, each with the reason to ask about it; a file may come twice.

    `awaited` are the releases that the page waits for (None: those that follow from the page alone).
    """
    if awaited is None:
        awaited = awaited_releases(page, verdicts, client)
    waited_for = [(reason, release) for spelling, reason in awaited.items() if (release := page.release(spelling)) is not None]
    for reason, release in waited_for:
        yield from zip(repeat(reason), _read_or_installed(release, client))
    for reason, release in waited_for:
        yield from zip(repeat(reason), release.files)
    denied = {name for name, verdict in verdicts.items() if is_undeliverable(verdict)}
    later = Reason.BACKGROUND
    if denied:
        yield from ((later, file) for file in page.files if file.key in denied)
    front = newest(page)
    for release in front:
        yield from zip(repeat(later), _read_or_installed(release, client))
    for release in front:
        yield from zip(repeat(later), release.files)
    newer = {release.spelling for release in front}
    older = [release for release in page.releases if release.spelling not in newer]
    for release in older:
        yield from zip(repeat(later), resolver_picks(release))
    for release in older:
        yield from zip(repeat(later), release.files)


def is_awaited(planned: tuple[Reason, File]) -> bool:
    """Return whether the page waits for the file, which `order` yielded."""
    return planned[0] is not Reason.BACKGROUND


def awaited_files(page: Page, awaited: Mapping[str, Reason]) -> Iterator[File]:
    """Return the files that `page` waits for, whether it is time to ask about them or not; a file may come twice."""
    return (file for _, file in takewhile(is_awaited, order(page, {}, None, awaited)))


def _read_or_installed(release: Release, client: ClientPlatform | None) -> tuple[File, ...]:
    pick = None if client is None else install_pick(release, client)
    return resolver_picks(release) if pick is None else (pick, *resolver_picks(release))


def _long_ago(_: File) -> float | None:
    return None


def plan(
    page: Page,
    verdicts: Mapping[str, Verdict],
    now: float,
    *,
    rules: VerdictRules,
    budget: int | None,
    client: ClientPlatform | None = None,
    awaited: Mapping[str, Reason] | None = None,
    awaited_only: bool = False,
    seen_since: Callable[[File], float | None] = _long_ago,
) -> Plan:
    """Choose the files of `page` to ask about, at most `budget` of them (None: no bound), or only those that the page waits for.

    `awaited` are the releases that it waits for, as `awaited_releases` returns them (None: those that follow from the page alone).
    `verdicts` are what is known, by the files' keys; `now` is in seconds since the epoch. `seen_since` tells when the page listed a file
    first.
    """
    steps = plan_in_steps(
        page,
        verdicts,
        now,
        rules=rules,
        budget=budget,
        client=client,
        awaited=awaited,
        awaited_only=awaited_only,
        seen_since=seen_since,
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            planned: Plan = end.value
            return planned


def plan_in_steps(
    page: Page,
    verdicts: Mapping[str, Verdict],
    now: float,
    *,
    rules: VerdictRules,
    budget: int | None,
    client: ClientPlatform | None = None,
    awaited: Mapping[str, Reason] | None = None,
    awaited_only: bool = False,
    seen_since: Callable[[File], float | None] = _long_ago,
    asked_since: float | None = None,
) -> Generator[None, None, Plan]:
    """Plan as `plan` does, and yield after every few hundred files; verdicts may come in meanwhile.

    Files that were asked about between `asked_since` and `now` are left out, both in seconds since the epoch.
    """
    first: list[File] = []
    rest: list[File] = []
    seen: set[str] = set()
    left = len(page.files) if budget is None else budget
    awaiting = _awaiting_confirmation(page, verdicts)
    reasons: dict[str, Reason] = {}
    later = Reason.BACKGROUND
    for number, (reason, file) in enumerate(order(page, verdicts, client, awaited)):
        if number % _STEP == _STEP - 1:
            yield
        if awaited_only and reason is later:
            break
        key = file.key
        if key in seen:
            continue
        seen.add(key)
        verdict = verdicts.get(key)
        if verdict is not None and asked_since is not None and asked_since <= verdict.checked <= now:
            continue
        since = seen_since(file) if verdict is not None and verdict.kind is Kind.UNDELIVERABLE else None
        if not due(file, verdict, now, rules, awaiting=key in awaiting, seen_since=since):
            continue
        if left <= 0:
            return Plan(tuple(first), tuple(rest), more=True, reasons=reasons)
        left -= 1
        if reason is later:
            rest.append(file)
        else:
            first.append(file)
            reasons[key] = reason
    return Plan(tuple(first), tuple(rest), more=False, reasons=reasons)


def _awaiting_confirmation(page: Page, verdicts: Mapping[str, Verdict]) -> set[str]:
    if not any(is_undeliverable(verdict) for verdict in verdicts.values()):
        return set()
    denied = [release for release in page.releases if all(is_undeliverable(verdicts.get(file.key)) for file in release.files)]
    return {file.key for release in denied for file in release.files}


def outlived(page: Page, verdicts: Mapping[str, Verdict], now: float, rules: VerdictRules, asked: Collection[str]) -> list[str]:
    """Return the keys of the files of `page` that were denied so long ago that it counts no more, for when nobody asks about them again.

    `asked` are those that somebody does; `now` is in seconds since the epoch.
    """
    denied = (file.key for file in page.files if is_undeliverable(verdicts.get(file.key)))
    return [name for name in denied if name not in asked and now - verdicts[name].evidence.at >= rules.no_keep]
