"""Drives conversations with the mirror to their ends: many at once, each request by the cheapest way, at a pace the mirror bears.

In the fast lane there is no task and no timer for a probe: an answer calls the conversation it belongs to, which asks on,
or ends and lets the next one start.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextvars import Context
from functools import partial
from typing import Any, TypeAlias, TypeVar

from proxy.core.flows.exchange import Answer, Ask, Flow, NoAnswer, Reply, Trouble
from proxy.core.identity import Identity
from proxy.core.verdict.reason import Reason
from proxy.upstream import again
from proxy.upstream.fastlane import FastLane, Unusual
from proxy.upstream.pace import Pace
from proxy.upstream.talks import Batch, Pause, SlowExchange, Talk

K = TypeVar("K")
T = TypeVar("T")

_AnyBatch: TypeAlias = Batch[Any, Any]
_AnyTalk: TypeAlias = Talk[Any, Any]

_AT_ONE_GO = 128
"""Conversations that start before the loop gets its turn."""

_UNUSUAL_IN_A_ROW = 8
_SPARED = 256
_ASKS_AFTER_THE_END = 64


class Conversations:
    """Drives flows for one mirror.

    `slow` asks whatever can be asked, following redirects; `fast`, where there is one, asks what is plain at the mirror's own origin,
    which `own_origin` recognises by URL. `authorization_for` gives the Authorization header of an identity. A request that failed
    in passing is asked again up to `retries` times. `clock` tells the seconds since the epoch. `admit` says whether the fast lane may
    be used right now, and `heard` is told what came back there: so a breaker sees both lanes (the slow one is the caller's).
    `took` is told how many seconds the answers took, by either lane. Both hear of many at once, in the order in which they came;
    `heard` is told the address besides where it is a single failure.
    `sent` is told of each request that leaves, by either lane, why it was made and for which address; `slow` has to call what it is given.
    """

    def __init__(
        self,
        slow: Callable[[Ask, Identity, Callable[[], None]], Awaitable[Reply]],
        fast: FastLane | None,
        pace: Pace,
        *,
        authorization_for: Callable[[Identity], str | None],
        retries: int,
        own_origin: Callable[[str], bool],
        clock: Callable[[], float] = time.time,
        admit: Callable[[], bool] | None = None,
        heard: Callable[[Sequence[Reply], str | None], None] | None = None,
        took: Callable[[Sequence[float]], None] | None = None,
        sent: Callable[[Reason, str], None] = lambda _reason, _url: None,
    ) -> None:
        self._slow = slow
        self._fast = fast
        if fast is not None:
            fast.turned = self._pump
        self._pace = pace
        self._authorization_for = authorization_for
        self._retries = retries
        self._own_origin = own_origin
        self._clock = clock
        self._admit = admit
        self._tell = heard
        self._took = took
        self._sent_for = {reason: partial(sent, reason) for reason in Reason}
        self._share: Callable[[], float] = random.random
        self._budget = again.RetryBudget()
        self._wishes = again.Wishes()
        self._ailing = again.Ailing()
        self._resuming: deque[_AnyTalk] = deque()
        self._alone: deque[_AnyBatch] = deque()
        self._urgent: deque[_AnyBatch] = deque()
        self._ahead: deque[_AnyBatch] = deque()
        self._patient: deque[_AnyBatch] = deque()
        self._behind: deque[_AnyBatch] = deque()
        self._batches: set[_AnyBatch] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._unusual = 0
        self._spared = 0
        self._good: list[Answer] = []
        self._good_began: list[float] = []
        self._time: Callable[[], float] = time.monotonic

    async def one(
        self,
        flow: Flow[T],
        who: Identity,
        *,
        within: float | None = None,
        background: bool = False,
        reason: Reason = Reason.DEMAND,
    ) -> T:
        """Drive one conversation, ahead of all others unless in the `background`, and return what it learned.

        After `within` seconds it hears that no answer comes in time, whatever it asks. What it raises is raised here.
        """
        results: list[T] = []
        batch = self._batch([(None, flow)], who, lambda _, learned: results.append(learned), background=background, reason=reason)
        timer = None
        if within is not None:
            batch.until = self._time() + within
            timer = asyncio.get_running_loop().call_later(within, self._expire, batch)
        try:
            await self._driven(batch, self._behind if background else self._urgent)
        finally:
            if timer is not None:
                timer.cancel()
        return results[0]

    async def all(
        self,
        flows: Iterable[tuple[K, Flow[T]]],
        who: Identity,
        *,
        learned: Callable[[K, T], None],
        background: bool = False,
        patient: bool = False,
        urgent: bool = False,
        reason: Reason | Callable[[K], Reason] = Reason.DEMAND,
    ) -> None:
        """Drives all conversations, started in their order as the pace allows, and calls `learned` with key and result as each ends.

        Those of an `urgent` batch start before those of others, as that of `one` does. Those of a `patient` batch start when no other
        batch has any to start; those in the `background` after them, at the pace's rate.

        `flows` is read only as far as conversations can start. Cancelled, it starts no more and abandons those under way.
        What a conversation, `flows` or `learned` raises ends the rest as well, and is raised here.
        """
        batch = self._batch(flows, who, learned, background=background, reason=reason)
        queue = self._behind if background else self._patient if patient else self._urgent if urgent else self._ahead
        await self._driven(batch, queue)

    async def alone(
        self,
        flows: Iterable[tuple[K, Flow[T]]],
        who: Identity,
        *,
        learned: Callable[[K, T], None],
        within: float,
        reason: Reason = Reason.DEMAND,
    ) -> bool:
        """Drive conversations one after the other while nothing else is under way at the mirror, and call `learned` as each ends.

        Nothing new starts until what is under way has ended. Return False where that takes longer than `within` seconds.
        """
        begun = False

        def noted() -> Iterator[tuple[K, Flow[T]]]:
            nonlocal begun
            begun = True
            yield from flows

        def give_up() -> None:
            if not begun:
                batch.fail(TimeoutError())

        batch = self._batch(noted(), who, learned, background=False, reason=reason)
        timer = asyncio.get_running_loop().call_later(within, give_up)
        try:
            await self._driven(batch, self._alone)
        except TimeoutError:
            if begun:
                raise
            return False
        finally:
            timer.cancel()
        return True

    async def close(self) -> None:
        """Ends every conversation: who waits for one is cancelled."""
        for batch in list(self._batches):
            batch.finished.cancel()
            self._drop(batch)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _batch(
        self,
        flows: Iterable[tuple[K, Flow[T]]],
        who: Identity,
        learned: Callable[[K, T], None],
        *,
        background: bool,
        reason: Reason | Callable[[K], Reason],
    ) -> Batch[K, T]:
        self._time = asyncio.get_running_loop().time
        return Batch(iter(flows), who, self._authorization_for(who), learned, background=background, reason=reason)

    async def _driven(self, batch: Batch[K, T], queue: deque[_AnyBatch]) -> None:
        self._batches.add(batch)
        queue.append(batch)
        try:
            self._pump()
            await batch.finished
        finally:
            self._drop(batch)

    def _drop(self, batch: _AnyBatch) -> None:
        """Forgets what is left of a batch."""
        held = batch in self._alone
        self._batches.discard(batch)
        batch.flows = None
        for queue in (self._alone, self._urgent, self._ahead, self._patient, self._behind):
            if batch in queue:
                queue.remove(batch)
        talks = list(batch.talks)
        for talk in talks:
            self._release(talk)
            talk.close()
        if talks or held:
            self._pump_soon()

    def _release(self, talk: _AnyTalk) -> None:
        """Takes a conversation out of whatever it waits for."""
        if talk.exchange is not None:
            talk.exchange.abandon()
            talk.exchange = None
        if talk.under_way:
            talk.under_way = False
            self._pace.forgotten()
        if talk in self._resuming:
            self._resuming.remove(talk)

    def _pump_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Starts what the pace allows: first those that go on, then the urgent, then batches in turn, then the background."""
        self._account()
        if self._alone:
            self._pump_alone(self._time())
        else:
            self._pump_all()

    def _pump_all(self) -> None:
        pace, now = self._pace, self._time()
        for _ in range(_AT_ONE_GO):
            if pace.room(now) <= 0:
                if pace.paused_until > now:
                    self._wake_at(pace.paused_until)
                return
            if self._resuming:
                self._send(self._resuming.popleft(), now)
            elif self._urgent:
                self._start(self._urgent, now)
            elif self._ahead:
                self._start(self._ahead, now)
            elif self._patient:
                self._start(self._patient, now)
            elif self._behind and pace.background_room(now) > 0:
                self._start(self._behind, now)
            else:
                if self._behind and pace.background_at(now) > now:
                    self._wake_at(pace.background_at(now))
                return
        self._pump_soon()

    def _pump_alone(self, now: float) -> None:
        """Start what is to be alone, as soon as nothing is under way."""
        if self._pace.under_way > 0:
            return
        if self._pace.paused_until > now:
            self._wake_at(self._pace.paused_until)
            return
        batch = self._alone[0]
        goes_on = next((talk for talk in self._resuming if talk.batch is batch), None)
        if goes_on is not None:
            self._resuming.remove(goes_on)
            self._send(goes_on, now)
        elif not batch.talks:
            self._start(self._alone, now)
            if self._pace.under_way == 0:
                self._pump_soon()

    def _wake_at(self, at: float) -> None:
        """Looks again then: no answer may come before that would."""
        if self._alone or self._resuming or self._urgent or self._ahead or self._patient or self._behind:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_at(at + 0.001, self._pump)

    def _start(self, queue: deque[_AnyBatch], now: float) -> None:
        """Starts the next conversation of the queue's first batch."""
        batch = queue[0]
        try:
            # An `all` that is cancelled loses its flows before it leaves the queue.
            key, flow = next(batch.flows or iter(()))
        except StopIteration:
            queue.popleft()
            batch.flows = None
            batch.settle()
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to who waits for the batch
            batch.fail(error)
            return
        if len(queue) > 1:
            queue.rotate(-1)
        talk = Talk(batch, key, flow)
        if self._asks_on(talk, None):
            self._send(talk, now)

    def _asks_on(self, talk: _AnyTalk, reply: Reply | None) -> bool:
        """Tells the conversation what came back, None to begin, and gives whether it asks for more; else it has ended."""
        batch = talk.batch
        try:
            talk.ask = talk.flow.send(reply)
            talk.attempts = 0
            if not batch.expired:
                return True
            for _ in range(_ASKS_AFTER_THE_END):
                talk.flow.send(self._too_late())
            raise TimeoutError("the conversation does not end")  # noqa: TRY301  # as what the flow raises
        except StopIteration as end:
            batch.talks.discard(talk)
            try:
                batch.learned(talk.key, end.value)
            except Exception as error:  # noqa: BLE001  # as below
                batch.fail(error)
            if batch.flows is None:
                batch.settle()
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to who waits for the batch
            batch.talks.discard(talk)
            batch.fail(error)
        return False

    def _send(self, talk: _AnyTalk, now: float) -> None:
        batch, ask = talk.batch, talk.ask
        self._pace.began(background=batch.background)
        talk.began = now
        talk.under_way = True
        if self._fast is not None and self._own_origin(ask.url) and (self._admit is None or self._admit()):
            if self._spared == 0:
                talk.fast = True
                sent = self._sent_for[talk.reason]
                talk.exchange = self._fast.submit(ask, batch.authorization, partial(self._heard, talk), sent=sent)
                return
            self._spared -= 1
        self._send_slowly(talk)

    def _send_slowly(self, talk: _AnyTalk) -> None:
        talk.fast = False
        # Whoever's turn it is starts it: the log must not take it for that request's.
        task = asyncio.get_running_loop().create_task(self._asked_slowly(talk), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        talk.exchange = SlowExchange(task)

    async def _asked_slowly(self, talk: _AnyTalk) -> None:
        try:
            reply = await self._slow(talk.ask, talk.batch.who, partial(self._sent_for[talk.reason], talk.ask.url))
        except asyncio.CancelledError:
            if talk.under_way:
                # Nobody here wanted that: the slow lane was closed under its requests.
                self._release(talk)
                talk.batch.finished.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to who waits for the batch
            self._release(talk)
            talk.batch.fail(error)
        else:
            self._heard(talk, reply)

    def _heard(self, talk: _AnyTalk, reply: Reply | Unusual) -> None:
        """Takes what came of a request, from either lane, and lets its conversation and others go on."""
        if isinstance(reply, Unusual):
            self._unusual += 1
            if self._unusual >= _UNUSUAL_IN_A_ROW:
                # A mirror that redirects every file, say, would be asked everything twice.
                self._spared = _SPARED
            self._send_slowly(talk)
            return
        talk.exchange = None
        talk.under_way = False
        if talk.fast:
            self._unusual = 0
        if isinstance(reply, Answer) and reply.status < 408:
            self._good_began.append(talk.began)
            if talk.fast:
                self._good.append(reply)
            put_off = False
        else:
            self._account()
            put_off = self._put_off(talk, reply, self._time())
        if not put_off and self._asks_on(talk, reply):
            # It goes before what has not begun, but not past the pace.
            self._resuming.append(talk)
        if not talk.fast:
            self._pump()

    def _account(self) -> None:
        """Tells of the good answers: they come in dozens, and to tell of each alone costs as much as to read it."""
        began = self._good_began
        if not began:
            return
        now = self._time()
        self._good_began = []
        self._pace.answered(began, now)
        self._wishes.delivered(len(began))
        if self._took is not None:
            self._took([now - each for each in began])
        good = self._good
        if good:
            self._good = []
            if self._tell is not None:
                self._tell(good, None)

    def _put_off(self, talk: _AnyTalk, reply: Reply, now: float) -> bool:
        """Tells of a request that did not go well, and gives whether it is asked again."""
        if talk.fast and self._tell is not None:
            self._tell((reply,), talk.ask.url)
        if self._took is not None and isinstance(reply, Answer):
            self._took((now - talk.began,))
        wanted = again.retry_after(reply)
        too_much = isinstance(reply, Answer) and reply.status in {429, 503}
        # What is refused again says something of that file: a mirror that is asked too much refuses others as well, when they are new.
        own_wish = wanted is not None and not self._wishes.of_mirror(talk.ask.url, now)
        of_path = own_wish or again.of_its_path_alone(talk.ask, reply) or (too_much and talk.attempts > 0 and wanted is None)
        if again.shows_strain(reply) and not (self._ailing.known(talk.ask.url, now) or of_path):
            self._pace.strained(talk.began, now, pause=too_much, retry_after=wanted)
        else:
            self._pace.forgotten()
        longest = again.LONGEST_WAIT_FOR_ONE if own_wish else again.LONGEST_WAIT
        if talk.attempts >= self._retries or not again.failed_in_passing(talk.ask, reply) or (wanted or 0.0) > longest:
            return False
        wait = again.delay(talk.attempts + 1, self._share(), wanted)
        if now + wait >= talk.batch.until or not self._budget.allows(self._pace.asked, now):
            return False
        talk.attempts += 1
        talk.exchange = Pause(asyncio.get_running_loop().call_later(wait, self._resume, talk))
        return True

    def _resume(self, talk: _AnyTalk) -> None:
        talk.exchange = None
        self._resuming.append(talk)
        self._pump()

    def _expire(self, batch: _AnyBatch) -> None:
        """Tells the conversations of a batch that their time is over."""
        batch.expired = True
        now = self._time()
        for talk in list(batch.talks):
            self._release(talk)
            self._asks_on(talk, self._too_late())
        while batch.flows is not None and not batch.finished.done():
            queue = self._behind if batch.background else self._urgent
            queue.remove(batch)
            queue.appendleft(batch)
            self._start(queue, now)
        self._pump()

    def _too_late(self) -> NoAnswer:
        return NoAnswer(Trouble.TIMEOUT, "the time for this conversation is over", self._clock())
