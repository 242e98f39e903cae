"""Lines of the log that can wait are written once a turn of the event loop, in order, and whatever ends the process loses none."""

import asyncio
import os
import subprocess
import sys
import threading
from io import BufferedWriter, FileIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from proxy.telemetry.output import Output, flush_within, opened

ROOT = Path(__file__).parents[2]


class Stream(StringIO):
    """A stream that counts how often it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


async def test_lines_of_one_turn_of_the_event_loop_are_written_at_once() -> None:
    stream = Stream()
    output = Output(stream)
    for turn in range(3):
        for number in range(4):
            output.write_soon(f"{turn}.{number}")
        assert stream.writes == turn
        await asyncio.sleep(0)
    assert stream.getvalue().splitlines() == [f"{turn}.{number}" for turn in range(3) for number in range(4)]
    assert stream.writes == 3


class Descriptor(FileIO):
    """A file that keeps the bytes of each write to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w")
        self.pieces: list[bytes] = []

    def write(self, data: Any) -> int:
        self.pieces.append(bytes(data))
        return super().write(data)


@pytest.mark.parametrize("letter", ["x", "ö", "語"], ids=["ASCII", "two bytes", "three bytes"])
@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
async def test_no_write_is_longer_than_a_pipe_takes_in_one_piece_but_for_a_longer_line(
    tmp_path: Path, letter: str, *, buffered: bool
) -> None:
    descriptor = Descriptor(tmp_path / "log")
    # As the interpreter opens standard error, with and without PYTHONUNBUFFERED.
    with TextIOWrapper(BufferedWriter(descriptor), encoding="utf-8", line_buffering=True, write_through=not buffered) as stream:
        output = Output(stream)
        lines = [f"{number} " + letter * (number * 37 % 300) for number in range(400)]
        lines[150] = letter * 5000
        lines[151] = letter * 20_000
        for line in lines:
            output.write_soon(line)
        await asyncio.sleep(0)
        assert b"".join(descriptor.pieces).decode() == "\n".join(lines) + "\n"
        assert all(piece.endswith(b"\n") and (len(piece) <= 4096 or piece.count(b"\n") == 1) for piece in descriptor.pieces)
        # Lines of one turn share writes all the same.
        assert len(descriptor.pieces) < 80


async def test_a_line_that_cannot_wait_takes_those_before_it_along() -> None:
    stream = Stream()
    output = Output(stream)
    output.write_soon("one")
    output.write("two")
    assert stream.getvalue() == "one\ntwo\n"
    await asyncio.sleep(0)
    assert stream.writes == 1


def test_where_no_event_loop_runs_nothing_waits() -> None:
    stream = Stream()
    output = Output(stream)
    output.write_soon("one")
    assert stream.getvalue() == "one\n"

    async def ended_before_its_turn_did() -> None:
        output.write_soon("two")
        asyncio.get_running_loop().stop()

    loop = asyncio.new_event_loop()
    task = loop.create_task(ended_before_its_turn_did())
    loop.run_forever()
    assert task.done()
    loop.close()
    output.write_soon("three")
    assert stream.getvalue() == "one\ntwo\nthree\n"


async def test_lines_of_threads_stay_whole_and_in_order() -> None:
    stream = Stream()
    output = Output(stream)

    def told(name: str) -> None:
        for number in range(500):
            (output.write_soon if number % 7 else output.write)(f"{name} {number}")

    threads = [asyncio.to_thread(told, f"thread-{number}") for number in range(4)]
    waiting = asyncio.ensure_future(asyncio.gather(*threads))
    for number in range(500):
        output.write_soon(f"loop {number}")
        if number % 5 == 0:
            await asyncio.sleep(0)
    await waiting
    await asyncio.sleep(0)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5 * 500
    for name in ("loop", *(f"thread-{number}" for number in range(4))):
        assert [line for line in lines if line.startswith(f"{name} ")] == [f"{name} {number}" for number in range(500)]


async def test_a_turn_that_writes_without_end_keeps_few_lines_in_memory() -> None:
    stream = Stream()
    output = Output(stream)
    # A thousand of these are no more than a pipe takes in one piece.
    lines = [str(number % 1000) for number in range(2500)]
    for line in lines:
        output.write_soon(line)
    assert stream.writes == 2
    await asyncio.sleep(0)
    assert stream.getvalue().splitlines() == lines


async def test_a_line_that_cannot_be_encoded_costs_no_other(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        output = Output(stream)
        for line in ("one", "zwölf", "three"):
            output.write_soon(line)
        await asyncio.sleep(0)
    assert (tmp_path / "log").read_text(encoding="ascii") == "one\nthree\n"


ENDS = {
    "returns": "return",
    "stops its loop": "asyncio.get_running_loop().stop()",
    "fails": "raise RuntimeError('crashed')",
    "exits": "sys.exit(3)",
    "ends by force": "flush_within(5); os._exit(3)",
    "is interrupted": "signal.raise_signal(signal.SIGINT)",
    "ends in a child": "os.waitpid(pid, 0) if (pid := os.fork()) else (log.info('child'), flush_within(5), os._exit(0))",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_whatever_ends_the_process_each_line_is_written_once(end: str) -> None:
    script = f"""
import asyncio, os, signal, sys, structlog
from proxy.config import LogSection
from proxy.telemetry import configure_logging, flush_within
configure_logging(LogSection.model_validate({{"format": "json"}}))
log = structlog.get_logger("test")
async def main():
    for number in range(3):
        log.info(f"line-{{number}}")
    {end}
if "stop" in {end!r}:
    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    loop.run_forever()
else:
    asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    for number in range(3):
        assert done.stderr.count(f'"line-{number}"') == 1, done.stderr
    assert done.stderr.count('"child"') == ("fork" in end)


def test_nobody_waits_for_ever_for_who_reads_nothing() -> None:
    read = threading.Event()

    class Full(StringIO):
        def write(self, text: str) -> int:
            read.wait(60)
            return len(text)

    output = opened(Full())
    threading.Thread(target=output.write, args=("one",), daemon=True).start()
    try:
        flush_within(0.05)
    finally:
        assert not read.is_set()
        read.set()
        opened(StringIO())
