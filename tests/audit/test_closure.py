"""Requirements out of foreign metadata are followed where they can be read, and cost little where they cannot."""

import time
from collections.abc import Callable

import pytest

from proxy.audit.closure import Closure, Step
from proxy.audit.wanted import Order
from tests.hostile import METADATA

SLOW = [name for name in METADATA if "requirement" in name or "millions" in name]


@pytest.mark.parametrize("make", [METADATA[name] for name in SLOW], ids=SLOW)
async def test_endless_metadata_ends_no_audit(make: Callable[[], bytes]) -> None:
    content, found = make(), list[str]()

    async def read(step: Step) -> bytes | None:
        return content if step.project == "demo" else None

    order = Order((), requires_python=">=3.11", closure=("demo",))
    closure = Closure(read, lambda steps: found.extend(step.project for step in steps), order)
    began = time.thread_time()
    await closure.follow()
    assert time.thread_time() - began < 2.0
    assert found[0] == "demo"
