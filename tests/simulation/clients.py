"""The clients of a proxy: they ask for pages, metadata and files, and tell the oracle what they get."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import TypeAlias

from proxy.core.errors import FileNotListed, MetadataUnavailable, PageUnreadable, UpstreamError
from proxy.core.flows.evidence import Asked, evidence_of
from proxy.core.flows.exchange import Answer, NoAnswer, Trouble
from proxy.core.identity import SHARED, Identity
from proxy.core.verdict.client import ClientPlatform
from proxy.index import Index
from tests.simulation.oracle import Oracle
from tests.simulation.transport import SimulatedUpstream
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.world import SimFile, World, metadata_in

IDENTITIES = {"": SHARED, "alice": Identity("alice", "Basic alice"), "bob": Identity("bob", "Basic bob")}

Door: TypeAlias = Callable[[], AbstractContextManager[tuple[Index, SimulatedUpstream]]]
"""A block that has the index and the mirror's client of one request, for as long as it lasts."""


def drawn_actions(rng: Random, count: int, kinds: Sequence[str], gaps: Sequence[float]) -> list[tuple[float, str, float]]:
    """Return when clients do something, what, and a number that decides the rest; `gaps` are the seconds in between."""
    moment, actions = 1.0, []
    for _ in range(count):
        actions.append((moment, rng.choice(kinds), rng.random()))
        moment += rng.choice(gaps) * rng.uniform(1.0, 1.2)
    return actions


class Clients:
    """Those who ask one proxy, which `door` leads to, in the `world`; `oracle` judges, and `note` tells what happened."""

    def __init__(self, loop: VirtualLoop, world: World, oracle: Oracle, note: Callable[[str], None], door: Door) -> None:
        self.oracle = oracle
        self.own_requests = 0
        self._loop = loop
        self._world = world
        self._note = note
        self._door = door

    async def view(self, name: str, who: str, client: ClientPlatform | None) -> list[str] | None:
        """Ask for a page, and return the names of the files on it, None where it was refused."""
        began = self._loop.now
        try:
            with self._door() as (index, _):
                served = await index.page(name, IDENTITIES[who], client)
        except (UpstreamError, PageUnreadable) as error:
            self._note(f"{who or 'somebody'} asks for {name} ({began:.3f}): {type(error).__name__}: {error!s}")
            self.oracle.refused(name, who, began, self._loop.now, error)
            return None
        mended = served.mended
        names = [file.filename for file in mended.page.files]
        stale = "" if served.stale_for is None else f", {served.stale_for:.0f} s stale"
        causes = {f"{cause.value}: {count}" for cause, count in mended.causes.items()}
        facts = f"{len(names)} listed, {len(mended.dropped)} dropped {sorted(causes)}, {mended.unasked} not asked about{stale}"
        self._note(f"{who or 'somebody'} asks for {name} ({began:.3f}): {facts}")
        self.oracle.served(name, who, began, self._loop.now, names, stale=served.stale_for is not None)
        return names

    async def metadata(self, file: SimFile, who: str, *, calm: bool = False) -> str | None:
        """Ask for a file's metadata, and return whose it is, None where it was refused."""
        began = self._loop.now
        project = self._world.projects[file.project]
        try:
            with self._door() as (index, _):
                found = await index.metadata(file.project, file.filename, IDENTITIES[who])
        except (UpstreamError, PageUnreadable, MetadataUnavailable, FileNotListed) as error:
            self._note(f"{who or 'somebody'} asks for the metadata of {file.filename}: {type(error).__name__}: {error!s}")
            well = calm or self.oracle.well(file.project, began, self._loop.now)
            if well and file.is_wheel and self._had(file, who):
                self.oracle.broken(
                    self._loop.now,
                    "metadata-refused",
                    f"the metadata of {file.filename} is refused though the file is delivered: {error!s}",
                )
            return None
        self._note(f"{who or 'somebody'} asks for the metadata of {file.filename} ({began:.3f}): that of {found.source}")
        if found.source.endswith(".whl") and found.content != metadata_in(found.source):
            self.oracle.broken(
                self._loop.now, "metadata-foreign", f"the metadata of {file.filename} is said to be {found.source}'s, and is not"
            )
        elif calm and self._had(file, who) and found.source != file.filename:
            self.oracle.broken(
                self._loop.now,
                "metadata-foreign",
                f"the metadata of {file.filename} is still that of {found.source}, though the file is delivered",
            )
        if not project.shows(who) or (file.listed_for is not None and who not in file.listed_for):
            self.oracle.broken(
                self._loop.now, "rights", f"{who or 'everybody'} gets the metadata of {file.filename}, which only others may see"
            )
        return found.source

    def _had(self, file: SimFile, who: str) -> bool:
        """Return whether the file is listed and delivered, and has been for long."""
        now = self._loop.now
        project = self._world.projects[file.project]
        since = file.whole_since(who, now)
        if file.patchy and not self.oracle.seen(file, who, now):
            return False
        listed = project.shows(who) and now < project.quarantined_from and file.lists(who, now - 700.0)
        return listed and since is not None and since < now - 700.0 and file.failing is None

    async def file(self, file: SimFile, who: str, *, calm: bool = False) -> None:
        """Ask for a file as the server does for a client, and note what came of it."""
        self.own_requests += 1
        began = self._loop.now
        with self._door() as (index, upstream):
            outcome = await self._had_file(index, upstream, file, who, began)
        self._note(f"{who or 'somebody'} asks for {file.filename}: {outcome}")
        if not who and outcome in {"404", "410"} and not file.there(who, self._loop.now):
            self.oracle.denied_to_client(file, self._loop.now)
        if calm and self._had(file, who) and outcome not in {"200", "203"}:
            self.oracle.broken(self._loop.now, "file-refused", f"{file.filename} cannot be had: {outcome}")

    async def _had_file(self, index: Index, upstream: SimulatedUpstream, file: SimFile, who: str, began: float) -> str:
        outcome = "delivered"
        try:
            project, listed = await index.file(file.project, file.filename, IDENTITIES[who])
            async with upstream.download("GET", listed.url, project.who) as download:
                body = b"".join([chunk async for chunk in download.chunks()])
                headers = {name.lower(): value for name, value in download.headers.items()}
                reply: Answer | NoAnswer = Answer(download.status, headers, body[:64], download.url, index.now())
        except (FileNotListed, PageUnreadable) as error:
            outcome = f"{type(error).__name__}"
            if isinstance(error, FileNotListed) and self.oracle.expected(file, who, began, self._loop.now):
                self.oracle.broken(
                    self._loop.now, "file-unknown", f"{file.filename} is listed, and cannot be had: the proxy knows no such file"
                )
        except UpstreamError as error:
            outcome = f"{type(error).__name__}: {error!s}"
            if "project" in locals():
                await index.correct(project, listed, evidence_of(Asked.GET, NoAnswer(Trouble.RESET, at=index.now())))
        else:
            outcome = str(reply.status) if isinstance(reply, Answer) else ""
            await index.correct(project, listed, evidence_of(Asked.GET, reply))
        return outcome
