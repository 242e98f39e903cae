"""The simulated resolver at the proxy in this process, before a mirror that holds a made-up world."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp.test_utils import TestClient, TestServer
from packaging.requirements import Requirement
from packaging.version import Version

from proxy.config import Settings
from proxy.server import create_app
from tests.mirror import BrokenMirror
from tests.worlds.model import MadeWorld
from tests.worlds.resolver import Resolver

_UNHURRIED = {"deadline": 14.0, "patience": 14.0}


@dataclass(frozen=True)
class Resolution:
    """The versions that were chosen, and the files of these releases that the pages listed when they were served.

    `unforeseen` are those of these files whose release no bound told of that had been read by then: a conflict, or a bound that was read
    later, led to it.
    """

    versions: Mapping[str, Version]
    listed: frozenset[str]
    unforeseen: frozenset[str] = field(default=frozenset(), compare=False)


async def resolve_cold(world: MadeWorld, *, without_dead: bool = False, probe: Mapping[str, Any] | None = None) -> Resolution:
    """Resolve `world` through a proxy that knows nothing yet; `without_dead` leaves dead files off the mirror's pages.

    `probe` are settings of that section. Raises `TooHard`.
    """
    async with BrokenMirror() as mirror:
        world.pour(mirror, without_dead=without_dead)
        sections = {"upstream": {"url": mirror.url}, "store": {"location": "memory"}, "probe": _UNHURRIED | dict(probe or {})}
        async with TestClient(TestServer(create_app(Settings.model_validate(sections)))) as client:
            resolver = Resolver(client)
            chosen = await resolver.resolve(world.roots)
    files = {name: frozenset(resolver.pages[name].listed[version]) for name, version in chosen.items()}
    roots = {Requirement(each).name for each in world.roots}
    late = [name for name, version in chosen.items() if name not in roots and version not in resolver.foreseeable(name)]
    return Resolution(chosen, frozenset().union(*files.values()), frozenset().union(*(files[name] for name in late)))
