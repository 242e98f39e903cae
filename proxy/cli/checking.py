"""`mirrormend check`: from the command line to an audit, and to the report of it."""

import asyncio
import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from proxy.audit import Order, Report, Survey
from proxy.audit.findings import Level
from proxy.audit.formats import FORMATS
from proxy.audit.formats.table import print_report
from proxy.audit.inputs import read_order
from proxy.audit.wording import how_many
from proxy.cli.interrupting import ended_by_signals
from proxy.cli.lock_inputs import known_mirror
from proxy.cli.progress import Telling
from proxy.cli.running import begin_command, for_mirror, quiet_log, reason, run_loop, settings_for
from proxy.config import Settings

_WIDTH_OF_A_FILE = 160


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for: words, files, how much may be asked, and in which form the report goes where."""

    words: Sequence[str]
    locks: Sequence[Path]
    requirements: Sequence[Path]
    closure: bool
    budget: str
    form: str
    output: Path | None
    quiet: bool
    mirror: str | None
    lock_indexes: Sequence[str] = ()


def run_check(config: Path | None, options: Mapping[str, str | None], asked: Asked) -> int:
    """Looks at the mirror and writes the report; gives 0 where it is sound, 1 where something was found, 2 where it could not be checked.

    Raises MirrormendError for what the user wrote, click.UsageError if the report cannot be written: status 2.
    """
    if not (asked.words or asked.locks or asked.requirements):
        raise click.UsageError("nothing is given to check; name projects, or give --lock FILE or -r FILE")
    changes = {} if asked.budget in {"auto", "all"} else {"budget": int(asked.budget)}
    every = settings_for(config, options)
    settings = for_mirror(every, asked.mirror, **changes)
    mirror = known_mirror(every, asked.mirror, asked.lock_indexes)
    begin_command(settings, quiet_log(settings, options.get("log_level")))
    order = read_order(asked.words, asked.locks, asked.requirements, mirror, closure=asked.closure)
    with Telling("checking", quiet=asked.quiet) as telling:
        report = run_loop(_survey(settings, order, telling, everything=asked.budget == "all"))
    _write(report, asked)
    return report.exit_status


async def _survey(settings: Settings, order: Order, telling: Telling, *, everything: bool) -> Report:
    async with Survey(settings, telling, everything=everything) as survey:
        running = asyncio.ensure_future(survey.run(order))
        with ended_by_signals(running), suppress(asyncio.CancelledError):
            await running
        return survey.report()


def _write(report: Report, asked: Asked) -> None:
    if asked.form == "table":
        if asked.output is None:
            console = Console() if sys.stdout.isatty() else Console(width=_WIDTH_OF_A_FILE)
            print_report(report, console)
            return
        text = io.StringIO()
        print_report(report, Console(file=text, width=_WIDTH_OF_A_FILE))
        content = text.getvalue()
    else:
        content = FORMATS[asked.form](report).rstrip("\n") + "\n"
    if asked.output is None:
        click.echo(content, nl=False)
        return
    try:
        asked.output.write_text(content, encoding="utf-8")
    except OSError as error:
        levels = report.by_level
        found = f"{how_many(levels[Level.ERROR], 'error')} and {how_many(levels[Level.WARNING], 'warning')} found"
        raise click.UsageError(
            f"the report cannot be written to {asked.output} ({reason(error)}); choose another --output ({found})"
        ) from error
