"""From a lock to a lock: through the proxy while uv runs, and named after the mirror when it is done."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from proxy.core.index_urls import same_for_uv, shown_url
from proxy.core.lockfile import Lock, LockUnreadable, read_lock, readdressed
from proxy.locking.addresses import Door, Proxied, back, made_through_a_proxy, marks_of, proxied_files, through
from proxy.locking.errors import LockFailed
from proxy.locking.guarding import CrashGuard, guarded
from proxy.locking.indexes import Detour, Role, UvIndex, detour, hints, spelled
from proxy.locking.project import Project
from proxy.locking.uv import KILLED, Errand, environment_of, run_uv, without_dry_run
from proxy.locking.uv_location import UvLocation
from proxy.locking.verifying import Verification
from proxy.locking.whereabouts import at_mirror
from proxy.locking.writing import LockOnDisk
from proxy.upstream.addresses import is_loopback

Say = Callable[[str], None]

_SHOWN = 5
_RUNS = 20
"""Runs of uv at most: each one after the first comes from a release or a file that left the pages, or came back to them, for good."""

_ERRANDS_BY_VARIABLE = frozenset({"UV_LOCKED", "UV_FROZEN"})
_LOCKED_BY_OTHERS = (
    "note: uv add, remove, sync and run lock by themselves, without the proxy: "
    "uv add --frozen and uv remove --frozen before mirrormend lock, uv sync --locked and uv run --locked after it"
)


@dataclass(frozen=True, slots=True)
class Way:
    """How a lock is led: `doors` are the mirrors and proxies; `own` says that the proxy runs for this lock only, on loopback.

    `without` are variables that uv is not to see, since the proxy has what they say. `verification` asks the mirrors behind the own
    proxy for what is locked.
    """

    doors: tuple[Door, ...]
    own: bool
    without: frozenset[str] = frozenset()
    verification: Verification | None = None


@dataclass(frozen=True, slots=True)
class UvRun:
    """A `uv lock` as it was asked for: its `arguments`, its kind, and where it works.

    The descriptor `exclusion` keeps other runs for the same lock file waiting.
    """

    arguments: tuple[str, ...]
    errand: Errand
    location: UvLocation
    exclusion: int


async def lock(project: Project, indexes: Sequence[UvIndex], way: Way, run: UvRun, say: Say) -> int:
    """Run `uv lock` through the proxies, and have the lock name their mirrors; return uv's exit status.

    The lock there was leads through the proxy while uv runs, so that uv keeps the versions; it is put back where anything fails.
    A run that is not to write returns 1 where the lock would differ. Raise LockFailed, LockUnreadable, or OtherIndex.
    """
    attempt = _Attempt(project, indexes, way, run, say)
    with attempt.guarded() as guard:
        return await attempt.status(guard)


class _Attempt:
    def __init__(self, project: Project, indexes: Sequence[UvIndex], way: Way, run: UvRun, say: Say) -> None:
        self._project, self._indexes, self._way, self._run, self._say = project, indexes, way, run, say
        self._verification = way.verification
        self._route = detour(indexes, way.doors)
        self._proxies = [mark for door in way.doors for mark in marks_of(door.proxy)]
        self._disk = LockOnDisk(project.lock, self._proxies)
        self._others = list(_readable_locks(project.other_locks, self._proxies))
        self._before = _readable(self._disk.before)
        self._doors = spelled(indexes, way.doors, () if self._before is None else self._before.registries)
        self._former = () if self._before is None else _former(self._before, indexes)

    @contextmanager
    def guarded(self) -> Iterator[CrashGuard]:
        """Let no lock name a proxy after the block, however it ends."""
        # Somebody else may be locking another project through a proxy that runs for many.
        disks = (*self._others, self._disk) if self._way.own else (self._disk,)
        with ExitStack() as stack:
            guard = stack.enter_context(guarded({disk.path: disk.before for disk in disks}, self._proxies, self._run.exclusion))
            for disk in disks:
                stack.enter_context(disk.put_back_unless_done())
            yield guard

    async def status(self, guard: CrashGuard) -> int:
        """Do it, and return the exit status."""
        writes = self._run.errand is Errand.WRITE
        if self._before is not None:
            # uv compares a new resolution, which has the proxy's files, with the whole of the lock.
            proxied = readdressed(self._before, *through(self._before, self._doors, self._former, whole=not writes)).encode()
            self._disk.exchange(self._disk.before, proxied)
        for hint in hints(self._indexes, self._route):
            self._say(hint)
        return await (self._write(guard) if writes else self._compare(guard))

    async def _write(self, guard: CrashGuard) -> int:
        status = await self._until_settled(guard)
        if status != 0:
            self._tell_left_out(None)
            self._disk.restore(cut_short=status > KILLED)
            return status
        made = self._made()
        self._tell_left_out(read_lock(_text(made)))
        final = await _named_after_mirrors(made, self._doors, by_environment=not self._way.own)
        self._disk.exchange(made, final)
        _tell(self._project, self._route, read_lock(_text(final)), self._doors, self._say)
        if self._disk.before is None and self._project.script is None:
            self._say(_LOCKED_BY_OTHERS)
        return 0

    async def _compare(self, guard: CrashGuard) -> int:
        status = await self._until_settled(guard)
        if self._run.errand is Errand.COMPARE:
            return status or await self._difference("it does not name the mirror; update it")
        if status == 0:
            # A dry run tells by no status whether anything would change, and --locked does not go with every option.
            status = await self._uv(without_dry_run(self._run.arguments), guard, quiet=True)
        return status or await self._difference("change it")

    async def _until_settled(self, guard: CrashGuard) -> int:
        """Run uv until it neither fails for nor locks what is proven meanwhile not to be delivered; return the status of the last run."""
        arguments = [*self._run.arguments]
        for _ in range(_RUNS - 1):
            status = await self._uv(arguments, guard)
            if self._verification is None or status > KILLED:
                return status
            if status != 0:
                if not await self._verification.confirm_absences():
                    return status
                self._say("locking again")
                continue
            if self._run.errand is not Errand.WRITE:
                return status
            dead = await self._verification.undelivered(read_lock(_text(self._made())))
            if not dead:
                return status
            self._say(f"the mirror does not deliver {_these(dead)}; locking again without")
            again = [f"--refresh-package={name}" for name in sorted({file.project for file in dead})]
            arguments = [*self._run.arguments, *again]
        return await self._uv(arguments, guard)

    async def _uv(self, arguments: Sequence[str], guard: CrashGuard, *, quiet: bool = False) -> int:
        without = self._route.without | self._way.without | (_ERRANDS_BY_VARIABLE if quiet else frozenset())
        location = self._run.location
        environment = environment_of(location.environ, self._route.environment, without, loopback=self._way.own)
        status = await run_uv([*location.arguments, *arguments], location.directory, environment, guard, quiet=quiet)
        elsewhere = next((other for other in self._others if other.is_detoured), None)
        if elsewhere is not None:
            raise LockFailed(
                f"uv locked {elsewhere.path}, where {self._project.lock} was expected",
                f"{'it is as before' if self._way.own else 'see whether it names the proxy'}; "
                f"name the project that you mean: --project {elsewhere.path.parent}",
            )
        return status

    def _made(self) -> bytes:
        made = self._disk.content()
        if made is None:
            raise LockFailed(
                f"uv ended without an error, and there is no {self._project.lock}",
                "see whether the uv on your PATH is a wrapper that goes elsewhere",
            )
        return made

    def _tell_left_out(self, made: Lock | None) -> None:
        for each in () if self._verification is None else self._verification.left_out(made):
            self._say(each)

    async def _difference(self, remedy: str) -> int:
        """Put the lock back that there was, and say if uv's, named after the mirrors, is another one; return 1 then, else 0."""
        made = self._made()
        final = await _named_after_mirrors(made, self._doors, by_environment=not self._way.own)
        self._disk.undo(made)
        if final != self._disk.before:
            self._say(f"{self._project.lock.name} would change: {remedy}: mirrormend lock")
            return 1
        return 0


async def rename(project: Project, indexes: Sequence[UvIndex], way: Way, *, to_mirror: bool, say: Say) -> int:
    """Changes the addresses in a lock without uv: to those of the mirrors, or to those of the proxies; gives 0.

    Raises LockFailed or LockUnreadable.
    """
    disk = LockOnDisk(project.lock)
    if disk.before is None:
        raise _no_lock(project.lock)
    locked = read_lock(_text(disk.before))
    doors = spelled(indexes, way.doors, locked.registries)
    content = readdressed(locked, *through(locked, doors, _former(locked, indexes), whole=not to_mirror)).encode()
    if to_mirror:
        content = await _named_after_mirrors(content, doors, by_environment=not way.own)
    disk.exchange(disk.before, content)
    if content == disk.before:
        say(f"{project.lock.name} stays as it is")
    for registry in read_lock(_text(content)).registries:
        say(f"{project.lock.name} names {shown_url(registry)}")
    return 0


def check(project: Project, mirrors: Sequence[str], proxies: Sequence[str], indexes: Sequence[UvIndex], say: Say) -> int:
    """Says which indexes of the lock are proxies; gives 1 where one is, else 0. Raises LockFailed or LockUnreadable.

    A proxy is what is none of the `mirrors` and is one of `proxies`, or looks like one, or is on this machine and in no file of uv's.
    """
    content = LockOnDisk(project.lock).before
    if content is None:
        raise _no_lock(project.lock)
    locked = read_lock(_text(content))
    proxied = {*made_through_a_proxy(locked), *_former(locked, indexes)}
    found = [
        registry
        for registry in locked.registries
        if (registry in proxied or any(same_for_uv(registry, each) for each in proxies))
        and not any(same_for_uv(registry, each) for each in mirrors)
    ]
    for registry in found:
        count = sum(package.registry == registry for package in locked.packages)
        say(f"{project.lock.name} names a proxy: {shown_url(registry)} ({count} packages); make it name the mirror: mirrormend lock")
    return 1 if found else 0


def _readable_locks(paths: Iterable[Path], proxies: Sequence[str]) -> Iterator[LockOnDisk]:
    for path in paths:
        # uv cannot go on from one that cannot be read.
        with suppress(LockFailed):
            yield LockOnDisk(path, proxies)


def _readable(content: bytes | None) -> Lock | None:
    try:
        return None if content is None else read_lock(_text(content))
    except LockUnreadable:
        # uv has words of its own for a lock that it cannot read.
        return None


async def _named_after_mirrors(content: bytes, doors: Sequence[Door], *, by_environment: bool) -> bytes:
    locked = read_lock(_text(content))
    files = await at_mirror(proxied_files(locked, doors), by_environment=by_environment)
    text = readdressed(locked, back(locked, doors), files)
    left = next((door for door in doors if any(mark in text for mark in marks_of(door.proxy))), None)
    if left is not None:
        remedy = "require packages by their names, and see that no index of [tool.uv.sources] is the proxy"
        raise LockFailed(f"the lock names {left.proxy} for something else than an index", remedy)
    return text.encode()


def _former(locked: Lock, indexes: Sequence[UvIndex]) -> tuple[str, ...]:
    """Gives the indexes of the lock that must have been proxies, although its files do not show it: on this machine and not configured.

    A default index that only the environment names may be a proxy, as it gives way to the one that is used.
    """
    known = [index.url for index in indexes if index.in_file or index.role is not Role.DEFAULT]
    return tuple(each for each in locked.registries if _on_this_machine(each) and not any(same_for_uv(each, other) for other in known))


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise LockUnreadable("it is not UTF-8") from error


def _tell(project: Project, route: Detour, made: Lock, doors: Sequence[Door], say: Say) -> None:
    mirrors = [shown_url(door.mirror) for door in doors if door.mirror in made.registries]
    for mirror in mirrors:
        say(f"{project.lock.name} names {mirror}")
    if mirrors and not route.named:
        say(f'note: uv needs this index wherever the lock is used: url = "{mirrors[0]}" in [[tool.uv.index]], or UV_DEFAULT_INDEX')


def _these(files: Sequence[Proxied]) -> str:
    names = sorted(file.filename for file in files)
    return ", ".join([*names[:_SHOWN], *([f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else [])])


def _no_lock(path: Path) -> LockFailed:
    return LockFailed(f"{path.parent} has no {path.name}", "make one: mirrormend lock")


def _on_this_machine(registry: str) -> bool:
    try:
        return is_loopback(urlsplit(registry).hostname or "")
    except ValueError:
        return False
