"""The oracle of replicas that share a store: it says which promise was broken, besides those that each replica makes on its own.

The promises, by the kind under which a broken one is told:

- page-lost, verdict-lost, listing-lost, metadata-lost: What the store lost, refused or could not take is written again from what the
  running replicas hold: five minutes after the trouble, a new replica whose mirror is down serves what they serve.
- undead: What the mirror withdrew is not served any more, and is not written again by a replica that still had it.
- store-waits: No page waits for the store for longer than half a second in all, whatever that does, and half a second more for the
  rest of its probes.
- lease-waits: No page waits for a lease whose owner is gone for longer than a lease lasts; lease-left: nor is one kept for nothing.
- blip: Two seconds after the beginning of an outage of half a second the store is used again.
- refusing: A store that only refuses to write is still read.
- not-ready: That the store is well again is found out although nobody asks.
- learned-twice: What one replica learned the others use, whatever their clocks say.
- writes-on: Nothing is written where nothing happens.
"""

from collections.abc import Collection, Sequence
from typing import Any

from proxy.store import BackendState
from tests.simulation.behaviour import Behaviour
from tests.simulation.oracle import Oracle, Tally
from tests.simulation.outages import Outage
from tests.simulation.replica import Replica
from tests.simulation.replica_behaviours import Reloads, ReplicasKilled, Withdrawn
from tests.simulation.replica_stage import StoreFault
from tests.simulation.shared_backend import SharedBackend
from tests.simulation.store_faults import StoreBlips, StoreEmptied, StoreRefuses, StoreStuckLeases
from tests.simulation.world import SimFile, World

STORE_WAIT = 0.5 + 0.5
"""Seconds that a page waits for the store at most: for what it needs, and for the rest of its probes where it waits for these."""

LEASES = 10.5
"""Seconds that a page waits at most for leases of a replica that was killed: that for the page, and that for the first probes."""

BLIP_WITHIN = 2.0


class ReplicaOracle:
    """Judges what replicas over one store do. All times are the loop's seconds.

    `wait` is how long a page takes at a calm mirror; `calm` says that the mirror is one.
    """

    def __init__(self, tally: Tally, world: World, behaviours: Sequence[Behaviour], *, wait: float, calm: bool) -> None:
        self._tally = tally
        self._world = world
        self._behaviours = behaviours
        self._wait = wait
        self._calm = calm
        self._withdrawn = {each.project: each.since for each in behaviours if isinstance(each, Withdrawn) and len(world.projects) > 1}
        self._killed = float("-inf")
        self.recovered = False
        self.downloaded: set[str] = set()

    def broken(self, at: float, kind: str, words: str) -> None:
        """Note a promise that was broken, and of which kind it is."""
        self._tally.kinds[kind] += 1
        self._tally.violations.append(f"{at:12.3f}  BROKEN ({kind}): {words}")

    def killed(self, now: float) -> None:
        """Note that a replica was killed: its leases stay for their time."""
        self._killed = now

    def held_up(self, began: float, ended: float) -> bool:
        """Return whether a request of these moments may have waited for a replica that was killed, or for who never lets go of a lease."""
        stuck = any(isinstance(each, StoreStuckLeases) and each.since <= ended and began <= each.until for each in self._behaviours)
        return stuck or (began <= self._killed + 30.0 and ended >= self._killed)

    def took(self, replica: Replica, name: str, began: float, ended: float, names: list[str] | None) -> None:
        """Judge how long a page took, and a page of a project that was withdrawn."""
        since = self._withdrawn.get(name)
        if since is not None and names and self.recovered:
            self.broken(ended, "undead", f"replica {replica.number} serves {name} {began - since:.0f} s after it was withdrawn")
        if not self._calm:
            return
        held = self.held_up(began, ended)
        most = self._wait + STORE_WAIT + (LEASES if held else 0.0)
        if ended - began > most:
            kind = "lease-waits" if held else "store-waits"
            self.broken(ended, kind, f"replica {replica.number} took {ended - began:.2f} s for {name}, where {most:.2f} had to do")

    def state(self, kind: str, state: str, replica: Replica, now: float) -> None:
        """Judge what a replica takes the store for: it has to be `ready`, or `readable`."""
        for each in self._behaviours:
            lately = isinstance(each, StoreFault) and each.since < now and each.until > now - 60.0
            if isinstance(each, StoreBlips | StoreRefuses):
                # Two blips in a row, or a blip of what refuses, are none of these cases.
                other = kind == "refusing" if isinstance(each, StoreBlips) else kind == "blip"
                lately = lately and (other or each.since < now - BLIP_WITHIN - 0.01) and kind != "refusing"
            if (lately or isinstance(each, StoreEmptied)) and kind != "not-ready" and not isinstance(each, StoreStuckLeases):
                return
        found = replica.store.stats.backend
        allowed = {BackendState.READY} if state == "ready" else {BackendState.READY, BackendState.REFUSING}
        if found not in allowed:
            self.broken(now, kind, f"replica {replica.number} takes the store for {found.value}, where it is {state}")

    def newcomer(self, name: str, pages: list[list[str] | None], page: list[str] | None, now: float) -> None:
        """Judge the page that a new replica has from the store alone, by those that the running replicas serve."""
        if name in self._withdrawn:
            if page:
                self.broken(now, "undead", f"a new replica serves {name}, which the mirror withdrew")
            return
        served = [set(each) for each in pages if each is not None]
        if not served:
            return
        if page is None:
            self.broken(now, "page-lost", f"a new replica has no page of {name}, which {len(served)} running ones serve")
            return
        truth = {file.filename for file in self._world.projects[name].listed("", now)}
        dropped = truth - set[str]().union(*served)
        back = sorted(dropped & set(page))
        if back:
            self.broken(now, "verdict-lost", f"a new replica lists {len(back)} files of {name} that every running one drops: {back[:3]}")
        # That a file is not delivered may have been found out after the page of a running one.
        delivered = {file.filename for file in self._world.projects[name].files if file.there("", now)}
        missing = sorted((set[str].intersection(*served) - set(page)) & delivered)
        if missing:
            self.broken(
                now, "listing-lost", f"a new replica lacks {len(missing)} files of {name} that every running one lists: {missing[:3]}"
            )

    def newcomer_metadata(self, file: SimFile, source: str | None, now: float) -> None:
        """Judge the metadata that a new replica has from the store alone, and a running one served."""
        gone = file.project in self._withdrawn or now >= self._world.projects[file.project].quarantined_from
        if source is None and not gone:
            self.broken(now, "metadata-lost", f"a new replica lacks the metadata of {file.filename}, which a running one has")

    def idle(self, place: SharedBackend, written: int, now: float) -> None:
        """Judge what goes on a minute after the last request."""
        if written:
            self.broken(now, "writes-on", f"{written} documents were written in a minute in which nobody asked for anything")
        held = sorted(name for name, lease in place.leases.items() if lease.until > now and lease.token)
        if held:
            self.broken(now, "lease-left", f"leases are held although nobody works: {held[:3]}")

    def learned(self, replica: Replica, name: str, pages: int, files: list[str], now: float) -> None:
        """Judge what a replica asked the mirror about a project that another one had asked about a moment before."""
        troubled = any(each.trouble(now - 1000.0, now) or isinstance(each, Outage) for each in self._behaviours)
        if not self._calm or troubled or name in self._withdrawn:
            return
        # A generation that is leaving keeps nothing that it learns for its last requests.
        leaving = any(isinstance(each, Reloads | ReplicasKilled) for each in self._behaviours)
        files = [] if leaving else [filename for filename in files if filename not in self.downloaded]
        if pages or files:
            words = f"{pages} pages and {len(files)} files {files[:3]}"
            self.broken(now, "learned-twice", f"replica {replica.number} asks for {words} of {name}, which another one knew")


class OracleOfOne(Oracle):
    """As the oracle of a proxy that is alone; what was withdrawn is judged for all replicas together."""

    all: ReplicaOracle

    def served(self, name: str, who: str, began: float, ended: float, names: Collection[str], *, stale: bool) -> None:
        """Judge a page that was served."""
        if not self._withdrawn(name, ended):
            super().served(name, who, began, ended, names, stale=stale and not self.all.held_up(began, ended))

    def refused(self, name: str, who: str, began: float, ended: float, error: Exception) -> None:
        """Judge a page that was not given."""
        if not self._withdrawn(name, ended):
            super().refused(name, who, began, ended, error)

    def well(self, project: str, began: float, ended: float) -> bool:
        """Return whether the mirror was well then, and gives the page of this project."""
        return not self._withdrawn(project, ended) and super().well(project, began, ended)

    def expected(self, file: SimFile, who: str, began: float, ended: float) -> bool:
        """Return whether the proxy must know a file that was asked for then."""
        return not self._withdrawn(file.project, ended) and super().expected(file, who, began, ended)

    def _withdrawn(self, name: str, now: float) -> bool:
        project = self._world.projects.get(name)
        return project is not None and now >= project.withdrawn_from


class SilentOracle(Oracle):
    """Judges nothing."""

    def __init__(self) -> None:
        """Know nothing."""

    def served(self, *_: Any, **__: Any) -> None:
        """Say nothing."""

    def refused(self, *_: Any) -> None:
        """Say nothing."""

    def well(self, *_: Any) -> bool:
        """Say that nothing can be expected."""
        return False

    def broken(self, *_: Any) -> None:
        """Say nothing."""
