"""Whether the proxy can serve, for load balancers and orchestrators: they take one that says no out of their rotation.

Rules for this file: it judges from what requests showed, and asks the mirror only where they showed nothing lately. What hinders every
replica alike takes none of them away: without its store the proxy serves from memory, and without a mirror the pages that it holds.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.index import Index
from proxy.store import BackendState, Store

_ASK_AGAIN = 10.0
"""Seconds between two questions to a mirror, or to the store, however often somebody wants to know."""

_RECENTLY = 30.0
"""Seconds for which one good answer outweighs failures: a busy mirror fails now and then."""

_PATIENCE = 2.0
"""Seconds that who wants to know waits for an answer; the question itself goes on, and the next one hears of it."""


@dataclass(frozen=True, slots=True)
class Check:
    """How one thing does: `serves` says whether there is something to serve by it, `well` whether it does as it should.

    `why` it does not is for everybody to read: it names nothing that is the mirror's.
    """

    state: str
    serves: bool
    well: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The proxy as a whole: the checks of its parts, and `ending` where it was told to end."""

    store: Check
    mirrors: Mapping[str, Check]
    ending: bool

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return not self.ending and self.store.serves and any(check.serves for check in self.mirrors.values())

    @property
    def well(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.ending and all(check.well for check in (self.store, *self.mirrors.values()))

    @property
    def complaints(self) -> list[str]:
        """What is wrong, in a few words each."""
        named = {"the store": self.store} | {f"the mirror {name}": check for name, check in self.mirrors.items()}
        told = [f"{name} {_TOLD.get(check.state, check.state)}{check.why}" for name, check in named.items() if not check.well]
        return ["it was told to end", *told] if self.ending else told


_TOLD = {
    "away": "cannot be reached",
    "slow": "answers too slowly for pages to wait for it",
    "refusing": "takes nothing more",
    "closed": "is closed",
    "unknown": "has not answered yet",
    "fails": "does not answer",
    "rests": "did not answer lately and is left alone for a moment",
}


class Watch:
    """Looks after the readiness of one application; `clock` is any that does not go back, in seconds.

    `ending` is to be set once the process was told to end.
    """

    def __init__(self, indexes: Mapping[str, Index], store: Store, clock: Callable[[], float]) -> None:
        self.ending = False
        self._indexes = indexes
        self._store = store
        self._clock = clock
        self._asked: dict[object, float] = {}
        self._questions: dict[object, asyncio.Task[object]] = {}
        self._store_answers = True

    async def look(self) -> Readiness:
        """Gives how everything does, after some seconds at most."""
        indexes = dict(self._indexes)
        store, *mirrors = await asyncio.gather(self._of_store(), *(self._of_mirror(index) for index in indexes.values()))
        return Readiness(store, dict(zip(indexes, mirrors, strict=True)), self.ending)

    async def close(self) -> None:
        """Leaves no question behind."""
        questions = list(self._questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)

    async def _of_store(self) -> Check:
        if self._store.stats.backend is not BackendState.ABSENT:
            await self._ask(self._store, self._ask_store)
        state = self._store.stats.backend
        if state is BackendState.READY and not self._store_answers:
            state = BackendState.AWAY
        return Check(state.value, serves=True, well=state in {BackendState.ABSENT, BackendState.READY})

    async def _ask_store(self) -> None:
        self._store_answers = await self._store.ready()

    async def _of_mirror(self, index: Index) -> Check:
        if not _answers(index):
            await self._ask(index.mirror, index.mirror.greet)
        well = _answers(index)
        health = index.mirror.health
        why = ": no TLS connection to it can be made, and the log says why" if health.tls_fails else ""
        return Check(health.state, serves=well or index.has_pages, well=well, why=why)

    async def _ask(self, whom: object, ask: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Asks, unless that was done lately, and waits a little for the answer."""
        question, now = self._questions.get(whom), self._clock()
        if question is None:
            if now - self._asked.get(whom, float("-inf")) < _ASK_AGAIN:
                return
            self._asked = {each: at for each, at in self._asked.items() if now - at < _ASK_AGAIN} | {whom: now}
            question = self._questions[whom] = asyncio.get_running_loop().create_task(ask(), name="readiness")
            question.add_done_callback(lambda _: self._questions.pop(whom, None))
        await asyncio.wait({question}, timeout=_PATIENCE)


def _answers(index: Index) -> bool:
    health = index.mirror.health
    if health.state == "rests" or health.last_answer is None:
        return False
    return health.state == "answers" or index.now() - health.last_answer < _RECENTLY
