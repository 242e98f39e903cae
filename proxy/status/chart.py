"""Probes and drops over time as bars, in the units of an SVG picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from proxy.status.history import Minute

_WIDTH = 960
_HEIGHT = 140
_BASE = 118
_TOP = 20
_LABEL_EVERY = 30
_LABEL_ROOM = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `kind` is `probes` or `drops`, `words` what it stands for."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True, slots=True)
class Label:
    """A time below the bars."""

    x: float
    anchor: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The whole picture; `most` is the number that reaches its top, `probes` and `dropped` are sums."""

    width: int
    height: int
    base: int
    most: int
    probes: int
    dropped: int
    bars: tuple[Bar, ...]
    labels: tuple[Label, ...]


def chart_of(minutes: Sequence[Minute]) -> Chart:
    """Gives the picture of these minutes, oldest first. A bar of drops stands before that of the probes, and one drop can be seen."""
    most = max([1, *(max(minute.probes, minute.dropped) for minute in minutes)])
    step = _WIDTH / max(1, len(minutes))
    return Chart(
        width=_WIDTH,
        height=_HEIGHT,
        base=_BASE,
        most=most,
        probes=sum(minute.probes for minute in minutes),
        dropped=sum(minute.dropped for minute in minutes),
        bars=tuple(_bars(minutes, step, most)),
        labels=tuple(_labels(minutes, step)),
    )


def _bars(minutes: Sequence[Minute], step: float, most: int) -> Iterator[Bar]:
    for place, minute in enumerate(minutes):
        words = f"{_clock(minute)}: {minute.probes} probes, {minute.dropped} dropped"
        for kind, number in (("probes", minute.probes), ("drops", minute.dropped)):
            if number:
                height = max(2.0, round((_BASE - _TOP) * number / most, 1))
                yield Bar(kind, round(place * step + 1, 1), round(_BASE - height, 1), round(step - 2, 1), height, words)


def _labels(minutes: Sequence[Minute], step: float) -> Iterator[Label]:
    for place, minute in enumerate(minutes):
        if minute.began // 60 % _LABEL_EVERY == 0:
            x = round(place * step + step / 2, 1)
            anchor = "start" if x < _LABEL_ROOM else "end" if x > _WIDTH - _LABEL_ROOM else "middle"
            yield Label(x, anchor, _clock(minute))


def _clock(minute: Minute) -> str:
    return datetime.fromtimestamp(minute.began, UTC).strftime("%H:%M UTC")
