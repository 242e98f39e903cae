"""The time for which the process was held up is given back to those who waited then, and to nobody else."""

import asyncio
import time

from proxy.index.own_time import OwnTime

HELD_UP = 0.3


async def hold_up() -> None:
    time.sleep(HELD_UP)  # noqa: ASYNC251 - it is to hold up the loop


async def test_who_begins_to_wait_after_the_process_was_held_up_is_given_nothing_back_for_it() -> None:
    own_time, over = OwnTime(), asyncio.Event()

    async def watch() -> float:
        with own_time.watched() as held_up:
            await over.wait()
            return held_up()

    before = asyncio.create_task(watch())
    await asyncio.sleep(0)
    # These go on in one turn of the loop.
    held, after = asyncio.create_task(hold_up()), asyncio.create_task(watch())
    await held
    await asyncio.sleep(0.1)
    # Whatever holds up the loop besides, both are given back.
    over.set()
    assert await before - await after > HELD_UP / 2
