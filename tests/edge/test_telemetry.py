"""What is logged: for machines, for people, and what never is."""

import json
import logging
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog

from proxy.config import LogFormat, LogSection
from proxy.telemetry import configure_logging

FORMATS = list(LogFormat)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class Log:
    """A logger, and what it wrote."""

    def __init__(self, form: LogFormat = LogFormat.JSON, level: str = "info", stream: StringIO | None = None) -> None:
        self.stream = StringIO() if stream is None else stream
        configure_logging(LogSection.model_validate({"format": form, "level": level}), self.stream)
        self.to = structlog.get_logger("mirrormend.test")

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_machines_get_an_object_on_each_line_with_time_level_logger_event_and_facts() -> None:
    log = Log()
    log.to.info("request", status=200, ms=1.5, tried={"a.whl": "404"}, file=Path("x"), nothing=None)
    (line,) = log.lines
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "logger": "mirrormend.test",
        "event": "request",
        "status": 200,
        "ms": 1.5,
        "tried": {"a.whl": "404"},
        "file": "x",
        "nothing": None,
    }
    assert log.text.startswith('{"timestamp":')


def test_people_get_a_line_without_colours_unless_they_sit_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = Log(LogFormat.CONSOLE)
    plain.to.warning("stale-page", project="tornado")
    assert re.search(r"\[warning  \] stale-page +\[mirrormend.test\] project=tornado\n$", plain.text)
    assert "\x1b" not in plain.text
    coloured = Log(LogFormat.CONSOLE, stream=Terminal())
    coloured.to.warning("stale-page")
    assert "\x1b[" in coloured.text
    monkeypatch.setenv("NO_COLOR", "1")
    asked_not_to = Log(LogFormat.CONSOLE, stream=Terminal())
    asked_not_to.to.warning("stale-page")
    assert "\x1b" not in asked_not_to.text


@pytest.mark.parametrize("form", FORMATS)
def test_lines_below_the_level_are_not_written(form: LogFormat) -> None:
    log = Log(form, "warning")
    log.to.debug("unseen")
    log.to.info("unseen")
    log.to.warning("seen")
    assert log.text.count("\n") == 1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("nasty", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\x00b", "a\x9bb", "a\u2028b", "a\u202eb", "a\udc80b"])
def test_no_value_can_end_a_line_or_command_a_terminal(form: LogFormat, nasty: str) -> None:
    log = Log(form)
    log.to.info("request", path=nasty, facts={"deep": [nasty]})
    log.to.info(nasty)
    assert log.text.count("\n") == 2
    assert all(line.isprintable() for line in log.text.split("\n"))
    if form is LogFormat.JSON:
        assert log.lines[0]["path"] == nasty
        assert log.lines[0]["facts"] == {"deep": [nasty]}
        assert log.lines[1]["event"] == nasty


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "facts",
    [
        {"password": "geheim"},
        {"upstream_token": "geheim"},
        {"Authorization": "geheim"},
        {"cookies": ["geheim"]},
        {"headers": {"Set-Cookie": "geheim", "X-Api-Key": "geheim"}},
        {"url": "https://user:geheim@mirror.example.com/simple/"},
        {"url": "https://geheim@mirror.example.com/simple/"},
        {"url": "https://user:p@geheim@mirror.example.com/simple/"},
        {"why": "cannot reach https://user:geheim@mirror.example.com/simple/ or redis://:geheim@cache.example.com/0"},
        {"tried": {"a.whl": ["https://user:geheim@mirror.example.com/a.whl"]}},
        {"error": ValueError("https://user:geheim@mirror.example.com/a.whl")},
        {"why": "sent Authorization: Basic geheim0123=="},
        {"why": "sent 'Bearer geheim0123'"},
    ],
)
def test_no_credential_is_written(form: LogFormat, facts: dict[str, Any]) -> None:
    log = Log(form)
    log.to.info("request", **facts)
    assert "geheim" not in log.text
    assert "***" in log.text


def test_a_file_that_is_called_like_a_secret_is_none() -> None:
    log = Log()
    log.to.info("request", tried={"tokenizers-0.21.0.tar.gz": "404", "cookiecutter-2.6.0.tar.gz": "404"})
    assert set(log.lines[0]["tried"].values()) == {"404"}


def test_a_url_stays_readable_without_its_user_information() -> None:
    log = Log()
    log.to.info("request", url="https://user:geheim@mirror.example.com/simple/?a@b", mail="someone@example.com")
    assert log.lines[0]["url"] == "https://***@mirror.example.com/simple/?a@b"
    assert log.lines[0]["mail"] == "someone@example.com"


def fail(why: str) -> None:
    raise ValueError(why)


@pytest.mark.parametrize("form", FORMATS)
def test_a_traceback_is_written_without_its_credentials_and_without_faking_a_line(form: LogFormat) -> None:
    log = Log(form)
    try:
        fail("https://user:geheim@mirror.example.com/\n2026-01-01 00:00:00 [info] faked\x1b[2J")
    except ValueError:
        log.to.exception("failure")
    assert "Traceback" in log.text
    assert "geheim" not in log.text
    assert "\x1b" not in log.text
    assert not any(line.startswith("2026-01-01") for line in log.text.splitlines())
    if form is LogFormat.JSON:
        assert "Traceback" in log.lines[0]["exception"]


@pytest.mark.parametrize("form", FORMATS)
def test_what_libraries_log_is_written_in_the_same_form(form: LogFormat) -> None:
    log = Log(form)
    logging.getLogger("aiohttp.server").error("failed for %s", "https://user:geheim@mirror.example.com/\n")
    logging.getLogger("asyncio").info("chatter")
    assert log.text.count("\n") == 1
    assert "geheim" not in log.text
    if form is LogFormat.JSON:
        (line,) = log.lines
        assert (line["level"], line["logger"]) == ("error", "aiohttp.server")


def test_to_configure_again_does_not_double_what_libraries_log() -> None:
    Log()
    log = Log()
    logging.getLogger("aiohttp.server").error("once")
    assert len(log.lines) == 1


def test_a_value_that_json_has_no_word_for_costs_no_line() -> None:
    log = Log()
    log.to.info("request", number=2**80, set_of={1}, nan=float("nan"), raw=b"\xff", kind=object)
    assert log.lines[0]["event"] == "request"


def test_a_stream_that_is_gone_does_not_stop_who_logs() -> None:
    log = Log()
    log.stream.close()
    log.to.info("request")
