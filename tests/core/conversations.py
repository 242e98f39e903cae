"""Scripting a flow without a network: replies are sent in, asks are recorded."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import msgspec

from proxy.core.flows.exchange import Answer, Ask, Reply
from proxy.core.flows.metadata import Work

Asked = TypeVar("Asked")
Replied = TypeVar("Replied")
Learned = TypeVar("Learned")


def converse(
    flow: Generator[Asked, Replied, Learned], replies: Sequence[Replied] | Callable[[Asked], Replied]
) -> tuple[Learned, list[Asked]]:
    """Drive `flow` with `replies`, in their order or as a function of what is asked; return what it learned and what it asked.

    Work that a flow hands out is done on the spot.
    """
    asked: list[Asked] = []
    script = None if callable(replies) else iter(replies)
    try:
        ask = next(flow)
        while True:
            if isinstance(ask, Work):
                ask = flow.send(ask.run())
                continue
            asked.append(ask)
            reply = replies(ask) if callable(replies) else next(script or iter(()))
            ask = flow.send(reply)
    except StopIteration as end:
        return end.value, asked


def serving(content: bytes, *, ranges: bool = True) -> Callable[[Ask], Reply]:
    """Answers as a mirror would that has `content`, with or without ranges."""

    def reply(ask: Ask) -> Reply:
        if ask.suffix and ranges:
            ask = msgspec.structs.replace(ask, first=max(0, len(content) - ask.suffix), last=len(content) - 1, suffix=0)
        if ask.first is None or not ranges:
            return Answer(200, {"content-length": str(len(content))}, content[: ask.read])
        if ask.first >= len(content):
            return Answer(416, {"content-range": f"bytes */{len(content)}"})
        last = min(len(content) - 1, ask.last if ask.last is not None else len(content))
        body = content[ask.first : last + 1]
        return Answer(206, {"content-range": f"bytes {ask.first}-{last}/{len(content)}"}, body[: ask.read])

    return reply
