"""The oracle sees each promise that is broken: a proxy is made to break it, at a mirror without a fault or with the one that matters."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.core.errors import FileNotListed, UpstreamStatus
from proxy.core.verdict.reason import Reason
from proxy.index import Index
from proxy.telemetry.price import Price
from tests.simulation.contents import Quarantine, Rights
from tests.simulation.history import Drawn, run_history
from tests.simulation.virtual_loop import Deadlock, VirtualLoop, WallClock

SEEDS = range(8)
Page = Callable[..., Any]


def kinds(behaviours: Sequence[Drawn] = (), *, remembered: dict[str, Any] | None = None) -> set[str]:
    """Return the kinds of promises that are broken in some histories; what is `remembered` in one is forgotten before the next."""
    found: set[str] = set()
    for seed in SEEDS:
        if remembered is not None:
            remembered.clear()
        found |= set(run_history(seed, behaviours).tally.kinds)
    return found


def page_of(files: Sequence[Any], *, stale_for: float | None = None) -> Any:
    """Return what a page looks like to who judges it."""
    return SimpleNamespace(mended=SimpleNamespace(page=SimpleNamespace(files=files), dropped=(), causes={}, unasked=0), stale_for=stale_for)


def with_page(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Let the proxy serve each page as `change` makes it."""
    page = Index.page

    async def changed(self: Index, name: str, *arguments: Any) -> Any:
        return change(await page(self, name, *arguments))

    monkeypatch.setattr(Index, "page", changed)


def test_a_mirror_without_a_fault_breaks_no_promise() -> None:
    assert kinds() == set()


def test_it_sees_that_a_healthy_file_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with_page(monkeypatch, lambda served: page_of(served.mended.page.files[:-1]))
    assert kinds() >= {"lost"}


def test_it_sees_that_a_page_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    with_page(monkeypatch, lambda _: page_of(()))
    assert kinds() == {"page-empty"}


def test_it_sees_that_a_page_is_stale_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    with_page(monkeypatch, lambda served: page_of(served.mended.page.files, stale_for=300.0))
    assert kinds() == {"stale"}


def test_it_sees_that_a_page_lists_what_the_mirror_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with_page(monkeypatch, lambda served: page_of([*served.mended.page.files, SimpleNamespace(filename="amber-8.8.tar.gz")]))
    assert kinds() == {"added"}


def test_it_sees_that_a_project_turns_into_404(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(self: Index, name: str, *_: Any) -> Any:
        raise UpstreamStatus(name, 404)

    monkeypatch.setattr(Index, "page", refused)
    assert kinds() == {"page-refused"}


def test_it_sees_that_a_page_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Index.page

    async def slow(self: Index, *arguments: Any) -> Any:
        await asyncio.sleep(9.5)
        return await page(self, *arguments)

    monkeypatch.setattr(Index, "page", slow)
    assert "slow" in kinds()


def test_it_sees_that_a_request_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Index, *_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(Index, "page", never)
    assert "endless" in kinds()


def test_it_sees_that_dead_files_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    async def untouched(self: Index, name: str, who: Any, *_: Any) -> Any:
        return page_of((await self.mirror_page(name, who)).files)

    monkeypatch.setattr(Index, "page", untouched)
    assert kinds(["dead"]) == {"dead-listed"}


def test_it_sees_that_a_file_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: set[str] = set()

    def without(served: Any) -> Any:
        gone.update(each.file.filename for each in served.mended.dropped)
        return page_of([file for file in served.mended.page.files if file.filename not in gone])

    with_page(monkeypatch, without)
    found: set[str] = set()
    for seed in range(25):
        gone.clear()
        found |= set(run_history(seed, ["absences"]).tally.kinds)
    assert "not-back" in found


def test_it_sees_that_a_quarantined_project_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    last: dict[str, Any] = {}
    page = Index.page

    async def kept(self: Index, name: str, *arguments: Any) -> Any:
        served = await page(self, name, *arguments)
        if served.mended.page.files:
            last[name] = served
        return last.get(name, served)

    monkeypatch.setattr(Index, "page", kept)
    assert "quarantine" in kinds([Quarantine], remembered=last)


def test_it_sees_that_an_identity_is_shown_what_only_others_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    last: dict[str, Any] = {}
    page = Index.page

    async def shared(self: Index, name: str, *arguments: Any) -> Any:
        if name not in last:
            last[name] = await page(self, name, *arguments)
        return last[name]

    monkeypatch.setattr(Index, "page", shared)
    assert "rights" in kinds([Rights], remembered=last)


def test_it_sees_that_metadata_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = Index.metadata

    async def foreign(self: Index, *arguments: Any) -> Any:
        found = await metadata(self, *arguments)
        return replace(found, source="amber-8.8.tar.gz")

    monkeypatch.setattr(Index, "metadata", foreign)
    assert kinds() == {"metadata-foreign"}


def test_it_sees_that_a_listed_file_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(self: Index, name: str, filename: str, *_: Any) -> Any:
        raise FileNotListed(name, filename)

    monkeypatch.setattr(Index, "file", unknown)
    assert kinds() >= {"file-unknown", "file-refused", "metadata-refused"}


def test_it_sees_that_too_much_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Index.page

    async def greedy(self: Index, name: str, who: Any, *arguments: Any) -> Any:
        served = await page(self, name, who, *arguments)
        for _ in range(30):
            await self.verify_again(name, who)
        return served

    monkeypatch.setattr(Index, "page", greedy)
    assert "price" in kinds()


def test_it_sees_that_a_request_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Price.sent

    def forgetful(self: Price, reason: Reason, url: str) -> None:
        if reason is not Reason.WITNESS:
            sent(self, reason, url)

    monkeypatch.setattr(Price, "sent", forgetful)
    assert "miscounted" in kinds(["limit"])


def test_it_sees_that_an_outage_takes_a_known_page(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Index.page

    async def strict(self: Index, *arguments: Any) -> Any:
        served = await page(self, *arguments)
        if served.stale_for is not None:
            raise UpstreamStatus("", 503)
        return served

    monkeypatch.setattr(Index, "page", strict)
    assert "page-gone" in kinds(["outage"])


# The loop that all of it runs on ----------------------------------------------------------------------------------------------------------


def test_a_day_passes_at_once() -> None:
    loop = VirtualLoop()
    clock = WallClock(loop)
    began = clock()

    async def wait() -> list[str]:
        async def after(seconds: float, word: str, order: list[str]) -> None:
            await asyncio.sleep(seconds)
            order.append(word)

        order: list[str] = []
        await asyncio.gather(after(86400, "a day", order), after(2, "two seconds", order))
        return order

    try:
        assert loop.run_until_complete(wait()) == ["two seconds", "a day"]
    finally:
        loop.close()
    assert clock() - began == pytest.approx(86400)


def test_a_wait_that_nothing_ends_is_told() -> None:
    loop = VirtualLoop()

    async def wait() -> None:
        await loop.create_future()

    waiting = loop.create_task(wait())
    with pytest.raises(Deadlock):
        loop.run_until_complete(waiting)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(waiting)
    loop.close()
