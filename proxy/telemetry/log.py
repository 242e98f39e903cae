"""Logging: a line for each event, coloured for people at a terminal, or a JSON object for machines.

Whatever is logged may have been sent by a stranger, so that no value can end a line or command a terminal,
and may hold a credential, so that what looks like one is censored. The traceback of an error is the only thing of several lines:
in JSON it is one text, and for people each of its lines is indented. Lines below a warning are written once a turn of the event loop
(`telemetry.output`).
"""

import json
import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol, TextIO, cast

import msgspec
import structlog
from structlog.typing import BindableLogger, EventDict, Processor, WrappedLogger

from proxy.telemetry.output import Output, opened

# At the end of a key only: facts are kept by file name too, and tokenizers-0.21.0.tar.gz is no token.
_SECRET_KEY = re.compile(r"(^|[_-])(authorization|password|passwd|secret|token|cookie|credential|api[_-]?key)s?$", re.IGNORECASE)
_USER_INFORMATION = re.compile(r"(?<=://)[^\s/?#]*@")
_AUTHORIZATION = re.compile(r"\b(basic|bearer)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
_HIDDEN = "***"
_DEEPEST = 6


class LogChoice(Protocol):
    """What is chosen about logging: the section `[log]` of the settings, which this room does not import."""

    @property
    def format(self) -> str:
        """For whom lines are written: `console` or `json`."""

    @property
    def level(self) -> str:
        """The least severe lines that are written: `debug`, `info`, `warning` or `error`."""


def configure_logging(section: LogChoice, stream: TextIO | None = None) -> None:
    """Send all that is logged, also by aiohttp and asyncio, to `stream` (standard error where None), as `section` says.

    Loggers keep the configuration that they were first used with, for speed: call this once, before anything is logged,
    and `change_logging` later on.
    """
    stream = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[section.level.upper()]
    processors = _processors(section.format, stream)
    lines = _Lines(opened(stream))
    structlog.configure(
        processors=processors,
        wrapper_class=_levelled(level),
        logger_factory=lines.named,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _FromStandardLibrary)]:
        root.removeHandler(handler)
    root.addHandler(_FromStandardLibrary(processors, lines))
    _set_level_of_libraries(root, level)


def change_logging(section: LogChoice) -> None:
    """Changes format and level to what `section` says, for all loggers, also those that are in use; it needs `configure_logging` before."""
    root = logging.getLogger()
    handler = next((each for each in root.handlers if isinstance(each, _FromStandardLibrary)), None)
    settings = structlog.get_config()
    if handler is None or handler.processors is not settings["processors"]:
        return
    level = logging.getLevelNamesMapping()[section.level.upper()]
    # Loggers in use hold this very list and this very class.
    handler.processors[:] = _processors(section.format, handler.output.stream)
    _set_level(settings["wrapper_class"], level)
    _set_level_of_libraries(root, level)


def withhold(key: str, redact: Callable[[str], str]) -> None:
    """Have each line that is logged from now on pass through `redact`, which takes secrets out of it; one for each `key` is enough."""
    _withheld[key] = redact


_withheld: dict[str, Callable[[str], str]] = {}


def _without_secrets(_: WrappedLogger, __: str, line: Any) -> Any:
    for redact in _withheld.values():
        line = redact(line)
    return line


def _levelled(level: int) -> type[BindableLogger]:
    """Gives a class of loggers that write from `level` on, which can be changed later on: what structlog makes is shared by all who ask."""
    made = type("Logger", (structlog.make_filtering_bound_logger(level),), {})
    return cast("type[BindableLogger]", made)


def _set_level(loggers: type, level: int) -> None:
    """Gives the class the methods of one made for `level`: those below it do nothing, at no cost."""
    for name, method in vars(structlog.make_filtering_bound_logger(level)).items():
        if not name.startswith("__"):
            setattr(loggers, name, method)


def _set_level_of_libraries(root: logging.Logger, level: int) -> None:
    # What libraries tell below a warning is of use to nobody but who looks for an error in them.
    root.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))


def _processors(form: str, stream: TextIO) -> list[Processor]:
    as_json = form == "json"
    stamp = _Clock(as_json)
    first: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, _add_logger_name, stamp]
    if as_json:
        return [*first, structlog.processors.format_exc_info, censor, _json_line, _without_secrets]
    colours = stream.isatty() and "NO_COLOR" not in os.environ and sys.platform != "win32"
    console = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    return [*first, structlog.processors.format_exc_info, censor, _printable, console, _without_secrets]


class _Clock:
    """Adds the time: for machines in UTC with microseconds, for people the local time. The seconds are spelled out once a second."""

    def __init__(self, for_machines: bool) -> None:
        self._for_machines = for_machines
        self._second = ""
        self._spelled = ""

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["timestamp"] = self.now()
        return event

    def now(self) -> str:
        # Digits are cut, since that takes half the time of formatting a number with zeros before it.
        digits = str(time.time_ns() // 1000)
        second = digits[:-6]
        if second != self._second:
            self._second = second
            machines = self._for_machines
            self._spelled = (
                time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(second)))
                if machines
                else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(second)))
            )
        return f"{self._spelled}.{digits[-6:]}Z" if self._for_machines else self._spelled


class _Lines:
    """The lines of the logger called `name`, of all loggers to one `output`."""

    def __init__(self, output: Output, name: str = "") -> None:
        self.name = name
        self.output = output
        self.debug = self.info = self.log = self.msg = output.write_soon
        # Whoever looks for the cause of a crash finds these.
        self.warning = self.error = self.critical = self.exception = output.write

    def named(self, name: str = "", *_: object) -> "_Lines":
        """Return a writer to the same output for the logger called `name`."""
        return _Lines(self.output, name)


def line_told_often(logger: str, event: str, *, of_each: tuple[str, str], **facts: object) -> Callable[[str, str], None]:
    """Gives a function that logs `event` at level info, always with the same facts but for the two called `of_each`, which it is given.

    The line is rendered once, when it is told first, and each call changes its time and these facts only: rendering costs more than serving
    a page that is at hand. They have to be texts that need no escaping, such as an address.
    """
    made: list[Callable[[str, str], None]] = []

    def tell(first: str, second: str) -> None:
        if not made:
            made.append(_line_of(logger, event, of_each, facts))
        made[0](first, second)

    return tell


def _line_of(logger: str, event: str, of_each: tuple[str, str], facts: Mapping[str, object]) -> Callable[[str, str], None]:
    log = structlog.get_logger(logger)
    if not log.is_enabled_for(logging.INFO):
        return _nothing
    settings = structlog.get_config()
    clock = next((each for each in settings["processors"] if isinstance(each, _Clock)), None)
    lines = settings["logger_factory"](logger)
    if clock is None or not isinstance(lines, _Lines):
        return lambda *given: log.info(event, **dict(zip(of_each, given, strict=True)), **facts)
    # Whoever could put such a word into another fact cannot know it.
    marks = [secrets.token_hex(16) for _ in ("timestamp", *of_each)]
    rendered: Any = {"event": event, **dict(zip(of_each, marks[1:], strict=True)), **facts}
    for processor in settings["processors"]:
        rendered = rendered | {"timestamp": marks[0]} if processor is clock else processor(lines, "info", rendered)
    start, *parts = re.split(f"({'|'.join(marks)})", str(rendered))
    # Spelled out, since this runs for each page at hand: joining what a loop gives takes four times as long.
    write = lines.output.write_soon
    (a, after_a), (b, after_b), (c, after_c) = ((marks.index(mark), text) for mark, text in zip(parts[::2], parts[1::2], strict=True))

    def tell(first: str, second: str) -> None:
        values = clock.now(), first, second
        write(f"{start}{values[a]}{after_a}{values[b]}{after_b}{values[c]}{after_c}")

    return tell


def _nothing(_: str, __: str) -> None:
    return


class _FromStandardLibrary(logging.Handler):
    """Writes the records of the standard library's logging in the same form."""

    def __init__(self, processors: list[Processor], lines: _Lines) -> None:
        super().__init__()
        self.processors = processors
        self._lines = lines

    @property
    def output(self) -> Output:
        """The output that it writes to."""
        return self._lines.output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = self._lines.named(record.name)
            event: Any = {"event": record.getMessage()}
            if record.exc_info:
                event["exc_info"] = record.exc_info
            for process in self.processors:
                event = process(lines, record.levelname.lower(), event)
            (lines.info if record.levelno < logging.WARNING else lines.warning)(event)
        except Exception:  # noqa: BLE001 - a record that cannot be written is the logging module's to report
            self.handleError(record)


def _add_logger_name(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
    if logger.name:
        event["logger"] = logger.name
    return event


def censor(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hides credentials: values of keys that are called like one, user information in URLs, and what follows Basic or Bearer."""
    for key, value in event.items():
        kind = type(value)
        if kind is str:
            if "@" in value or "asic" in value or "earer" in value or _is_secret(key):
                event[key] = _HIDDEN if _is_secret(key) else _censored_text(value)
        elif kind is int or kind is float or kind is bool or value is None:
            continue
        else:
            event[key] = _HIDDEN if _is_secret(key) else _censored(value, _DEEPEST)
    return event


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def _censored_text(text: str) -> str:
    return _AUTHORIZATION.sub(rf"\1 {_HIDDEN}", _USER_INFORMATION.sub(f"{_HIDDEN}@", text))


def _censored(value: object, depth: int) -> object:
    if isinstance(value, int | float) or value is None:
        return value
    if depth and isinstance(value, Mapping):
        return {str(key): _HIDDEN if _is_secret(str(key)) else _censored(each, depth - 1) for key, each in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_censored(each, depth - 1) for each in value]
    return _censored_text(str(value))


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if type(value) is str and not value.isprintable():
            event[key] = _indented(value) if key == "exception" else _escaped(value)
    return event


def _escaped(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _indented(traceback: str) -> str:
    return "\n".join(f"    {_escaped(line)}" for line in traceback.split("\n"))


_encode: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=str).encode


def _json_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    event = {"timestamp": None, "level": None, "logger": "", "event": None, **event}
    try:
        line = _encode(event).decode()
    except (TypeError, ValueError, OverflowError):
        return json.dumps(event, default=str)
    # JSON escapes only what is below the space: the controls of terminals and the separators of lines above it are left.
    return line if line.isprintable() else _UNPRINTABLE.sub(_json_escape, line)


def _json_escape(letter: re.Match[str]) -> str:
    return letter[0] if letter[0].isprintable() else json.dumps(letter[0])[1:-1]
