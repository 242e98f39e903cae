"""The workers of one server to each other: whoever is asked for the numbers gives those of all, each with the worker's own.

They talk by sockets in a folder that only their user can open.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

_WITHIN = 2.0
_END_WITHIN = 0.2


@dataclass(frozen=True, slots=True)
class Siblings:
    """The worker `number` (from 1 on) of `count`, whose sockets lie in `folder`."""

    folder: Path
    number: int
    count: int

    async def listen(self, registry: CollectorRegistry) -> web.AppRunner:
        """Tells the others the numbers of this one, as long as what is given back is not cleaned up."""

        async def numbers(_: web.Request) -> web.Response:
            return web.Response(body=generate_latest(registry))

        app = web.Application()
        app.router.add_get("/", numbers)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_END_WITHIN)
        await runner.setup()
        place = self._socket(self.number)
        # One that died may have left it.
        place.unlink(missing_ok=True)
        await web.UnixSite(runner, str(place)).start()
        return runner

    async def numbers(self, own: CollectorRegistry) -> "Gathered":
        """Return the numbers of all workers that answer in time, each sample with the label `worker`, and which workers these are."""
        others = [number for number in range(1, self.count + 1) if number != self.number]
        texts = await asyncio.gather(*(self._asked(number) for number in others))
        told = dict(sorted([(self.number, generate_latest(own).decode()), *zip(others, texts, strict=True)]))
        return Gathered([_up(told), *_labelled((number, text) for number, text in told.items() if text)])

    async def _asked(self, number: int) -> str:
        connector = aiohttp.UnixConnector(str(self._socket(number)))
        timeout = aiohttp.ClientTimeout(total=_WITHIN)
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, session.get("http://worker/") as answer:
                return await answer.text()
        return ""

    def _socket(self, number: int) -> Path:
        return self.folder / f"{number}.sock"


@dataclass(frozen=True, slots=True)
class Gathered:
    """Metrics that were gathered, as an encoder of prometheus_client takes them."""

    metrics: list[Metric]

    def collect(self) -> Iterable[Metric]:
        """Gives them."""
        return self.metrics


def _up(told: Mapping[int, str]) -> Metric:
    family = GaugeMetricFamily(
        "mirrormend_worker_up", "Whether the worker told its numbers in time; those of one that did not are missing.", labels=("worker",)
    )
    for number, text in told.items():
        family.add_metric((str(number),), float(bool(text)))
    return family


def _labelled(texts: Iterable[tuple[int, str]]) -> Iterable[Metric]:
    united: dict[str, Metric] = {}
    for number, text in texts:
        for family in text_string_to_metric_families(text):
            into = united.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            into.samples += [sample._replace(labels={**sample.labels, "worker": str(number)}) for sample in family.samples]
    return united.values()
