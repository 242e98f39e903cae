"""What is known of one project: the mirror's page, the verdicts on its files, and the metadata read so far.

What one identity learned is kept apart from what others did, but for one thing: that a file can be delivered is shared among identities
whose pages are the same to the byte.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import structs

from proxy.core.filling import sha256_of
from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.identity import Identity
from proxy.core.packed import LARGEST, FilesLeft, packed
from proxy.core.page import File, FilesElsewhere, Page
from proxy.core.verdict.file_refusals import NOTHING_REFUSED, FileRefusals, concern
from proxy.core.verdict.judge import PROOF, Cause, Kind, Verdict, is_undeliverable
from proxy.core.verdict.reason import Reason
from proxy.index.demand import Demand
from proxy.index.served import ServedPage
from proxy.upstream import Validators

_NEW_FOR = 3600.0
"""Seconds for which it is remembered when a file was first listed."""

_SAME_DENIAL = 60.0
"""Seconds within which the denials that two replicas saw count as one."""

_CLOCKS_DIFFER = 5.0
"""Seconds by which the clocks of replicas may differ unnoticed: all go by the clock of the store that they share, once they know it."""

_WEIGHT, _WEIGHT_OF_FIRST_LINK, _WEIGHT_OF_LINK = 5000, 1000, 850
"""Bytes that a project takes with an empty page, those that it takes besides where there are files, and those of a file that the page
listed before, as tracemalloc and the process's resident memory tell of thousands of them: `benchmarks/README.md` says how."""


@dataclass(slots=True)
class KnownPage:
    """The mirror's page: parsed, the digest of its bytes, and when the mirror last said that it holds (seconds since the epoch).

    `page` is `bare`, what the mirror itself says, with what it lost filled in from the page of a second index with the digest `filled`;
    `filled_for` is when the page was checked that this was last tried for, `kept` when it was checked that the store has, and `kept_whole`
    when it was fetched as a whole since the store had lost it.
    """

    page: Page
    digest: str
    validators: Validators
    checked: float
    bare: Page
    kept: float = 0.0
    filled: str = ""
    filled_for: float = 0.0
    kept_whole: float = 0.0


class Read(msgspec.Struct, frozen=True, array_like=True):
    """Core metadata read for a file: the key of the file that it came from, the content, and what marks the file that it is for.

    `sha256` is the content's; `rescued` says that a second index gave it, since the mirror did not deliver the file.
    Older documents lack both.
    """

    source: str
    content: bytes
    mark: str
    sha256: str = ""
    rescued: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file can be had that the mirror does not deliver, None where nowhere; when that was looked for (seconds since the epoch)."""

    file: File | None
    sought: float


def came_later(moment: float, other: float, now: float) -> bool:
    """Return whether a moment came after the `other`, where one that is after `now` is of before a clock went back, and so the earlier."""
    latest = now + _CLOCKS_DIFFER
    return moment <= latest < other or (moment > other and moment <= latest)


def mark_of(file: File) -> str:
    """Gives what tells a file from another of the same name: its hash, else where it is and how large."""
    return file.hashes.get("sha256") or f"{file.url} {file.size}"


# Looking a member up in its enumeration is not free in Python 3.11, and this is done for each file.
_AVAILABLE = Cause.AVAILABLE

_PAST_FOR = 6 * 3600.0
"""Seconds for which a file can be had that the page listed before: a mirror of several nodes gives pages of different age."""

_PAST_FILES = 2000


@dataclass(slots=True)
class Project:
    """What one identity knows of one project.

    `revision` grows with every verdict, `offers` with every change of what the page says of core metadata;
    `stored_revision` is the revision that the store has; `forgotten` says when the last verdict came that was forgotten.
    `denied_revision` grows where a file is found undeliverable, or is so no more: other verdicts change no choice of releases.
    Verdicts and metadata are kept by the files' keys.
    `read` is the core metadata, `copied` has the keys of the files of which the mirror has a copy of it;
    `stale_since` is when the mirror last failed to give the page, which is known from before, `failures` how often in a row it did;
    `refreshing_since` is when it was asked for the page, until it answers.
    `asked_for` says that a client wanted the page, `looked_ahead_for` is when the page was checked whose requirements were fetched ahead.
    `unreadable` says when a file was found to have none that can be read (seconds since the epoch).
    `held_since` is when it came into memory (seconds since the epoch).
    `first_listed` is when its page was first seen, None where the store knew it; `appeared` says when a file that an earlier page lacked
    was first listed (both in seconds since the epoch).
    `plain_names` says by name what marked the file that had this name alone, before the page got twins of it.
    `past` holds files by key that the mirror's page listed before and does not list now, and since when it does not.
    `replaced` says that it has had another page before.
    `confirmed_since` is when the page was confirmed for the first time since its files were planned for.
    `sources` says by key and SHA-256 where the second index has files that the mirror denies;
    `rescues` grows with every change of these, and `prepared_for` is the revision for which all are looked for.
    `refusals` are refusals and denials by the files' keys, kept as verdicts are; `asked_whole` says when it was last asked, for a rescue,
    whether a GET of the whole file is denied as well.
    `demand` is what clients asked for lately; `followed_for` says for which page, requirements and client all was asked about that the page
    waits for, `following` has the keys of files that are being asked about for that. `named_late` says when a file was proven absent though
    a page had listed it and a client asked for metadata of its release, as long as it is absent.
    `awaited` are the releases that its page waits for, found by what `awaited_for` holds.
    `missized` has the keys of files that were seen to have another length than the page says, `refused_to_probes` of those of which a
    probe was refused a part, maybe since there were so many probes.
    """

    name: str
    who: Identity
    known: KnownPage | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    forgotten: dict[str, float] = field(default_factory=dict)
    read: OrderedDict[str, Read] = field(default_factory=OrderedDict)
    copied: set[str] = field(default_factory=set)
    unreadable: dict[str, float] = field(default_factory=dict)
    sources: dict[tuple[str, str], Source] = field(default_factory=dict)
    refusals: dict[str, FileRefusals] = field(default_factory=dict)
    asked_whole: dict[str, float] = field(default_factory=dict)
    rescues: int = 0
    missized: set[str] = field(default_factory=set)
    refused_to_probes: set[str] = field(default_factory=set)
    prepared_for: int = -1
    read_since_stored: bool = False
    revision: int = 0
    denied_revision: int = 0
    stored_revision: int = 0
    offers: int = 0
    loaded: bool = False
    planned_for: float = 0.0
    stale_since: float | None = None
    failures: int = 0
    refreshing_since: float | None = None
    served: ServedPage | None = None
    verification: "Progress | None" = None
    used: float = 0.0
    held_since: float = 0.0
    past: OrderedDict[str, tuple[File, float]] = field(default_factory=OrderedDict)
    replaced: bool = False
    confirmed_since: float = 0.0
    asked_for: bool = False
    looked_ahead_for: float = 0.0
    first_listed: float | None = None
    appeared: dict[str, float] = field(default_factory=dict)
    plain_names: dict[str, str] = field(default_factory=dict)
    demand: Demand = field(default_factory=Demand)
    awaited: Mapping[str, Reason] = field(default_factory=dict)
    awaited_for: tuple[object, ...] = ()
    followed_for: tuple[object, ...] = ()
    following: set[str] = field(default_factory=set)
    named_late: dict[str, float] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """About how many bytes of memory it holds."""
        fixed = _WEIGHT
        files = 0
        for page in self._pages:
            where = page.kept_elsewhere
            files += (0 if where is None else where.size) + (page.weight if page.away is None else 0)
            if page.count:
                fixed = _WEIGHT + _WEIGHT_OF_FIRST_LINK
        served = 0 if self.served is None else self.served.size
        read = sum([len(read.content) for read in self.read.values()])
        answers = (len(self.verdicts) + len(self.refusals)) * 250
        return fixed + files + served + read + answers + len(self.past) * _WEIGHT_OF_LINK

    @property
    def _pages(self) -> Sequence[Page]:
        """The pages that hold files of their own: the mirror's, and the one that was filled."""
        known = self.known
        return () if known is None else (known.page,) if known.page is known.bare else (known.page, known.bare)

    @property
    def awake(self) -> int:
        """How many files its pages hold that could be put away."""
        return sum([page.count for page in self._pages if page.away is None and page.count <= LARGEST])

    def put_away(self, woken: Callable[[], object]) -> None:
        """Put the files of its pages away, until one is asked for; then `woken` is called."""
        for page in self._pages:
            if page.away is None:
                # A page never changes.
                where: FilesElsewhere | None = page.kept_elsewhere or packed(page.files)
                if where is not None:
                    page.put_away(where, woken)
        mended = None if self.served is None else self.served.mended
        known = self.known
        if mended is None or known is None or mended.page is known.page or mended.page.away is not None:
            return
        if known.page.away is not None and mended.dropped and known.digest + known.filled == self.served_for:
            gone = frozenset([each.file.key for each in mended.dropped])
            mended.page.put_away(FilesLeft(known.page, gone, mended.page.count), woken)

    @property
    def served_for(self) -> str:
        """The digests of the page that was served last, and of what filled it."""
        return "" if self.served is None else self.served.revision[2]

    @property
    def in_hand(self) -> bool:
        """True while somebody waits for its page: what is asked besides needs some of its files, and not the page."""
        return self.refreshing_since is not None or (self.verification is not None and not self.verification.first.is_set())

    @property
    def busy(self) -> bool:
        """Whether its page is being fetched, or its files are being asked about."""
        return self.verification is not None or self.refreshing_since is not None

    def learn(self, file: File, verdict: Verdict) -> None:
        """Notes a verdict, unless the page says by now that what has the name of `file` is elsewhere."""
        if self._is_of_page(file):
            self.denied_revision += is_undeliverable(verdict) is not self._denied(file.key)
            self.verdicts[file.key] = verdict
            self.revision += 1
            self._is_late_no_more((file.key,))

    def record(self, file: File, evidence: Evidence, cause: Cause) -> None:
        """Note whether the mirror refused or denied `file`, as `learn` a verdict; a file that is delivered is refused no more."""
        if not self._is_of_page(file):
            return
        if cause is _AVAILABLE:
            if self.refusals and self.refusals.pop(file.key, None) is not None:
                self.revision += 1
        elif concern(cause) and not self._denied_whole_lately(file, evidence):
            self._note_refusals(file, self.refusals_of(file).after(evidence, cause))
            if evidence.asked is not Asked.GET and self.refusals_of(file).last_refused == evidence.at:
                self.refused_to_probes.add(file.key)

    def _denied_whole_lately(self, file: File, evidence: Evidence) -> bool:
        """Return whether `evidence` is of a part, just after a GET of the whole was denied: there are mirrors that refuse Range."""
        return evidence.asked is Asked.RANGE and 0 <= evidence.at - self.refusals_of(file).denied < _SAME_DENIAL

    def record_head(self, file: File, status: int, at: float) -> None:
        """Note what HEAD of `file` was answered with at `at`, in seconds since the epoch."""
        if self._is_of_page(file):
            self._note_refusals(file, self.refusals_of(file).after_head(status, at))

    def refusals_of(self, file: File) -> FileRefusals:
        """Return when the mirror refused or denied `file`."""
        return self.refusals.get(file.key, NOTHING_REFUSED)

    def take_over_refusals(self, refusals: Mapping[str, FileRefusals]) -> None:
        """Note what a replica, or another run, was told of files."""
        merged = {key: self.refusals.get(key, NOTHING_REFUSED).merged(each) for key, each in refusals.items()}
        self.revision += any(self.refusals.get(key) != each for key, each in merged.items())
        self.refusals |= merged

    def _note_refusals(self, file: File, refusals: FileRefusals) -> None:
        if refusals != self.refusals.get(file.key):
            self.refusals[file.key] = refusals
            self.revision += 1

    def _is_of_page(self, file: File) -> bool:
        """Return whether an answer for `file` is one for what the page lists under its key by now."""
        if self.known is None or not self.replaced:
            # It has had one page only, of which it is: that need not be looked up, or even read back, for each answer.
            return True
        listed = self.known.page.by_key.get(file.key)
        return listed is file or listed is None or _path(listed) == _path(file)

    def forget(self, keys: Collection[str]) -> None:
        """Forget the verdicts on the files with these keys."""
        for key in keys:
            self.forgotten[key] = self.verdicts.pop(key).checked
        self._is_late_no_more(keys)
        self.revision += bool(keys)
        self.denied_revision += bool(keys)

    def take_over(self, verdicts: Mapping[str, Verdict], now: float) -> None:
        """Note those of the `verdicts` of a replica that came later than what is known, or was known and is forgotten.

        A proof that a file is absent counts as well if this replica was denied the file a little later and has not proven it yet.
        An answer that came after `now` (seconds since the epoch) is of before a clock went back: any other one is newer.
        """
        mine, forgotten = self.verdicts, self.forgotten

        def is_newer(name: str, theirs: Verdict) -> bool:
            known = mine[name].checked if name in mine else forgotten.get(name)
            return known is None or came_later(theirs.checked, known, now) or _proves(theirs, mine.get(name))

        newer = {name: each for name, each in verdicts.items() if is_newer(name, each)}
        mine.update(newer)
        self.revision += bool(newer)
        self.denied_revision += bool(newer)
        self._is_late_no_more(newer)

    def _is_late_no_more(self, keys: Iterable[str]) -> None:
        """Forget of those of these files that are not proven absent any more that they were proven so too late."""
        if self.named_late:
            for key in keys:
                if not self._denied(key):
                    self.named_late.pop(key, None)

    def take_over_metadata(self, read: Mapping[str, Read]) -> None:
        """Note metadata that was stored, in this run or another, of files of which none of their own is known.

        That of another file counts only where the file itself is denied: what is denied no more may have requirements of its own.
        """
        for name, each in read.items():
            mine = self.read.get(name)
            better = mine is None or (mine.source != name and each.source == name)
            if better and (each.source == name or self._denied(name)):
                self.read[name] = each if each.sha256 else structs.replace(each, sha256=hashlib.sha256(each.content).hexdigest())

    def renew(self, known: KnownPage) -> None:
        """Take a newer page of the mirror. Of what is another file by now, or was denied and is elsewhere now, nothing is known."""
        before, self.known = self.known, known
        if before is None:
            self.first_listed = known.checked
        if known.bare.quarantined:
            # PEP 792: what it listed before is not to be had any more.
            self.past.clear()
        if before is None or before.digest == known.digest:
            return
        self.replaced = True
        was, now = before.bare.by_key, known.bare.by_key
        self._note_new_files(was.keys(), now.keys(), known.checked)
        self._note_past(was, now, known)
        self.plain_names |= {name: mark_of(was[name]) for name in known.bare.namesakes if name in was}
        pairs = ((key, was[key], now[key]) for key in self.verdicts if key in was and key in now)
        self.forget([key for key, one, other in pairs if _replaced(one, other) or (self._denied(key) and _path(one) != _path(other))])
        replaced = {key for key in was.keys() & now.keys() if _replaced(was[key], now[key])}
        self.refusals = {key: each for key, each in self.refusals.items() if key not in replaced}
        self._rename(was, now, known.bare.by_filename)
        self._forget_files(lambda key: key in replaced or (key not in now and key not in self.past))

    def _forget_files(self, is_gone: Callable[[str], bool]) -> None:
        """Forget what is of use only as long as the page lists a file, or listed it some hours ago."""
        self.refusals = {key: each for key, each in self.refusals.items() if not is_gone(key)}
        self.asked_whole = {key: each for key, each in self.asked_whole.items() if not is_gone(key)}
        self.missized = {key for key in self.missized if not is_gone(key)}
        self.refused_to_probes = {key for key in self.refused_to_probes if not is_gone(key)}

    def _rename(self, was: Mapping[str, File], now: Mapping[str, File], names: Mapping[str, File]) -> None:
        """Keep the verdicts on files that became twins of others, or ceased to be: they have other keys on the newer page."""
        moved = [key for key in self.verdicts if key not in now and key in was and was[key].filename in names]
        if moved:
            keys = {(file.filename, file.url): key for key, file in now.items()}
            for key in moved:
                verdict, new = self.verdicts[key], keys.get((was[key].filename, was[key].url))
                if new is not None:
                    self.verdicts.setdefault(new, verdict)
                    if key in self.refusals:
                        self.refusals.setdefault(new, self.refusals[key])
            self.forget(moved)

    def seen_since(self, file: File) -> float | None:
        """Return when the page listed `file` first, in seconds since the epoch; None where that is long ago."""
        return self.appeared.get(file.key, self.first_listed)

    def _note_new_files(self, was: Collection[str], now: Collection[str], at: float) -> None:
        self.appeared = {key: since for key, since in self.appeared.items() if abs(at - since) < _NEW_FOR and key in now}
        self.appeared |= {key: at for key in now if key not in was}

    def past_file(self, key: str, now: float) -> File | None:
        """Return the file that the page listed under this key some hours before `now`, None where it listed none."""
        file, since = self.past.get(key, (None, now))
        return file if 0 <= now - since < _PAST_FOR else None

    def confirmed(self, before: float, at: float, fresh: float) -> None:
        """Note that the mirror confirmed `at` the page that it had confirmed `before` (seconds since the epoch).

        What was planned for the page then is not planned anew for a client that wants the page fresher than `fresh` seconds.
        """
        if not 0 <= before - self.confirmed_since < fresh:
            self.confirmed_since = before
        if 0 <= at - self.confirmed_since < fresh:
            self.planned_for = at if self.planned_for == before else self.planned_for
            self.looked_ahead_for = at if self.looked_ahead_for == before else self.looked_ahead_for

    def _note_past(self, was: Mapping[str, File], now: Mapping[str, File], known: KnownPage) -> None:
        for key in [key for key in self.past if key in now]:
            del self.past[key]
        if known.bare.quarantined:
            return
        for key in was.keys() - now.keys():
            self.past[key] = (was[key], known.checked)
        while len(self.past) > _PAST_FILES:
            self.past.popitem(last=False)

    def _denied(self, key: str) -> bool:
        return is_undeliverable(self.verdicts.get(key))


def _path(file: File) -> str:
    return file.url.partition("?")[0]


def _proves(proven: Verdict, pending: Verdict | None) -> bool:
    """Return whether `proven` is the proof for which the denial in `pending`, which came later, is waiting."""
    if pending is None or pending.kind is not Kind.UNKNOWN or pending.cause not in PROOF:
        return False
    return is_undeliverable(proven) and pending.checked - proven.checked <= _SAME_DENIAL


def _replaced(before: File, after: File) -> bool:
    """Whether two pages tell of two files under one name."""
    one, other = sha256_of(before), sha256_of(after)
    if one is not None and other is not None:
        return one != other
    return before.size is not None and after.size is not None and before.size != after.size


@dataclass(slots=True)
class Progress:
    """How far a verification is: `first` is set once what the page waits for is known, `rest` when the budget is spent.

    `began` is in seconds since the epoch. `whole` says that the page waits for the rest as well, as long as patience lasts.
    `small` is how many files are counted for it where it lists so few that all are awaited, None where it does not.
    `begun` has the keys of files of the rest that were asked about, `taken` of those that somebody else asks about.
    """

    began: float
    whole: bool = False
    small: int | None = None
    begun: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    first: asyncio.Event = field(default_factory=asyncio.Event)
    rest: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Commons:
    """Files that some identity found deliverable, for all whose page has the same digest."""

    digest: str = ""
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def offer(self, digest: str, found: Mapping[str, Verdict]) -> None:
        """Adds the good verdicts among `found`, made for the page with that digest; those for another page are forgotten."""
        if digest != self.digest:
            self.digest, self.verdicts = digest, {}
        self.verdicts |= {name: verdict for name, verdict in found.items() if verdict.kind is Kind.DELIVERABLE}
        # A denial stays with who got it, but what was denied to somebody is not lent as good any more: others ask for themselves.
        for name in [name for name in self.verdicts if is_undeliverable(found.get(name))]:
            del self.verdicts[name]

    def lend(self, digest: str) -> Mapping[str, Verdict]:
        """Gives the good verdicts for the page with that digest."""
        return self.verdicts if digest == self.digest else {}
