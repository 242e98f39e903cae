"""`mirrormend warm`: from the command line to a store that knows what clients will ask for."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from proxy.audit.formats.left_out import incomplete_line, left_out_lines
from proxy.audit.inputs import read_order
from proxy.audit.wanted import Order
from proxy.audit.warming import Warmed, Warmer
from proxy.cli.interrupting import ended_by_signals
from proxy.cli.lock_inputs import known_mirror
from proxy.cli.progress import Telling
from proxy.cli.running import begin_command, for_mirror, quiet_log, run_loop, settings_for
from proxy.config import Settings
from proxy.config.complaints import on_one_line
from proxy.index import Index, repairs
from proxy.store import open_store
from proxy.upstream import Mirror

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for."""

    words: Sequence[str]
    locks: Sequence[Path]
    requirements: Sequence[Path]
    closure: bool
    quiet: bool
    mirror: str | None
    lock_indexes: Sequence[str] = ()


def run_warm(config: Path | None, options: Mapping[str, str | None], wanted: Wanted) -> int:
    """Fills the store and says what was learned; gives 0 where that was everything, 1 where something is missing, 2 where all is.

    Raises MirrormendError for what the user wrote, click.ClickException where the store cannot be written.
    """
    if not (wanted.words or wanted.locks or wanted.requirements):
        raise click.UsageError("nothing is given to learn; name projects, or give --lock FILE or -r FILE")
    every = settings_for(config, options)
    settings = for_mirror(every, wanted.mirror)
    mirror = known_mirror(every, wanted.mirror, wanted.lock_indexes)
    if settings.store.location == "memory":
        raise click.UsageError("a store in memory is forgotten at the end of this command; give --store sqlite or redis://HOST:PORT/DB")
    begin_command(settings, quiet_log(settings, options.get("log_level")))
    order = read_order(wanted.words, wanted.locks, wanted.requirements, mirror, closure=wanted.closure)
    with Telling("warming", found=("file dropped", "files dropped"), quiet=wanted.quiet) as telling:
        learned, lost, interrupted = run_loop(_warm(settings, order, telling))
    _tell(learned, interrupted=interrupted)
    for line in left_out_lines(order.sources):
        click.echo(on_one_line(line))
    incomplete = [each for source in order.sources for each in source.incomplete]
    if incomplete:
        click.echo(on_one_line(incomplete_line(incomplete).replace("checked", "learned")))
    if lost:
        raise click.ClickException(f"the store did not take {lost} of the documents; check its place, its rights and its free space")
    if learned.failed and not learned.pages:
        return 2
    return 1 if learned.failed or learned.absent or incomplete or interrupted else 0


async def _warm(settings: Settings, order: Order, telling: Telling) -> tuple[Warmed, int, bool]:
    section = settings.upstream[0]
    own = settings.of(section)
    store = open_store(settings.store)
    mending = repairs(own, store)
    interrupted = False
    await store.open()
    try:
        await mending.open()
        async with Mirror(section, own.probe) as mirror:
            index = Index(mirror, store, own, repairs=mending)
            warmer = Warmer(index, telling)
            running = asyncio.ensure_future(warmer.run(order))
            with ended_by_signals(running), suppress(asyncio.CancelledError):
                await running
            interrupted = running.cancelled()
            await index.close()
        await mending.close()
    finally:
        await store.close()
    stats = store.stats
    return warmer.learned, stats.lost + stats.pending, interrupted


def _tell(learned: Warmed, *, interrupted: bool) -> None:
    pages = learned.pages.values()
    files, dropped = sum(each.page.count for each in pages), sum(len(each.dropped) for each in pages)
    unknown, unasked = sum(sum(each.unknown.values()) for each in pages), sum(each.unasked for each in pages)
    click.echo(
        f"{len(learned.pages)} of {learned.wanted} projects: {files + dropped} files listed, {dropped} of them dropped, "
        f"{unknown} not known, {unasked} not asked about"
    )
    _tell_some([f"not learned: {project}: {error}" for project, error in learned.failed.items()])
    _tell_some([f"not there: {each}" for each in learned.absent])
    if learned.missing:
        click.echo(f"not on the mirror, and perhaps not needed: {', '.join(sorted(learned.missing)[:_NAMED])}")
    if interrupted:
        click.echo("Interrupted: what was learned is kept.")


def _tell_some(lines: Sequence[str]) -> None:
    for line in lines[:_NAMED]:
        click.echo(on_one_line(line))
    if len(lines) > _NAMED:
        click.echo(f"… and {len(lines) - _NAMED} more")
