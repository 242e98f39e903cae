"""Whatever a resolver chooses, cold, the page that it chose from lists exactly those files of that release that the mirror has."""

import asyncio
import os

from hypothesis import Phase, example, given, reject, settings

from tests.worlds.drawing import chain, siblings, world_of
from tests.worlds.model import MadeWorld
from tests.worlds.resolver import TooHard
from tests.worlds.simulated import Resolution, resolve_cold
from tests.worlds.strategies import worlds

# Without shrinking: each example starts a mirror and a proxy, and a world can be read as it was drawn.
BOUNDED = settings(max_examples=30, derandomize=bool(os.environ.get("CI")), phases=(Phase.explicit, Phase.reuse, Phase.generate))


def resolved(world: MadeWorld) -> tuple[Resolution, Resolution]:
    """Resolve `world`, and the same where nothing dead is listed."""
    try:
        return asyncio.run(resolve_cold(world)), asyncio.run(resolve_cold(world, without_dead=True))
    except TooHard:
        reject()


@BOUNDED
@given(worlds())
@example(chain("macosx"))
@example(chain("manylinux", kept="py3-none-any.whl"))
@example(siblings("macosx"))
def test_of_a_release_that_the_bounds_read_by_then_tell_of_a_page_lists_what_the_mirror_has(world: MadeWorld) -> None:
    made, right = resolved(world)
    dead = sorted(made.listed & world.dead - made.unforeseen)
    assert not dead, f"{dead}\n{world}"
    assert made.versions == right.versions, f"{world}"
    assert made.listed >= right.listed, f"{world}"


@BOUNDED
@given(worlds())
@example(world_of(37))
@example(world_of(193))
def test_a_page_lists_what_the_mirror_has_also_where_a_conflict_or_a_later_bound_leads_to_the_release(world: MadeWorld) -> None:
    made, right = resolved(world)
    dead = sorted(made.listed & world.dead)
    assert not dead, f"{dead}\n{world}"
    assert made == right, f"{world}"
