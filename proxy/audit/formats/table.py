"""The report for people: tables on a terminal, plain text elsewhere."""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.audit.curl import curl_line
from proxy.audit.findings import Level, Report
from proxy.audit.formats.left_out import incomplete_line, left_out_lines
from proxy.audit.grouping import Group as Findings
from proxy.audit.grouping import grouped
from proxy.audit.matrix import Cell, Matrix, Row
from proxy.audit.platforms import PLATFORMS
from proxy.audit.wording import how_many, price_line, reservations
from proxy.config.complaints import on_one_line

_STYLES = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "cyan", Level.UNCHECKED: "magenta"}
_CELLS = {
    Cell.WHEEL: ("wheel", "green"),
    Cell.SDIST: ("sdist", "yellow"),
    Cell.NONE: ("NONE", "bold red"),
    Cell.UNKNOWN: ("?", "magenta"),
    Cell.NOT_NEEDED: ("-", "dim"),
}
_MOST = 40
_NAMED = 3


def print_report(report: Report, console: Console) -> None:
    """Writes the report to `console`."""
    console.print(_head(report))
    groups = grouped(report.findings)
    for level in Level:
        of_level = [group for group in groups if group.first.level is level]
        if of_level:
            console.print()
            _print_groups(level, of_level, console)
    if report.matrix is not None:
        console.print()
        console.print(_matrix(report.matrix))
    console.print()
    console.print(_conclusion(report))


def _plain(text: str, style: str = "") -> Text:
    # Text, never markup: what a mirror sent may hold brackets.
    return Text(on_one_line(text), style=style)


def _head(report: Report) -> RenderableType:
    files = sum(each.files for each in report.projects)
    asked = files - sum(each.unasked for each in report.projects)
    projects, requests = how_many(len(report.projects), "project"), how_many(report.requests, "request")
    lines = [
        _plain(f"{report.mirror} ({report.kind})", "bold"),
        _plain(f"{projects}, {asked} of {how_many(files, 'file')} asked about, {requests}"),
    ]
    price = price_line(report)
    lines += [_plain(price, "dim")] if price else []
    partial = [each for each in report.projects if each.unasked and each.checked]
    if partial and not report.interrupted:
        lines.append(
            _plain(
                f"Of {how_many(len(partial), 'project')} some files were not asked about: beyond the budget (see --budget), or in vain.",
                "dim",
            )
        )
    lines += [_plain(each, "dim") for each in left_out_lines(report.sources)]
    return Group(*lines)


def _print_groups(level: Level, groups: list[Findings], console: Console) -> None:
    table = Table(
        title=_title(level, groups), title_justify="left", title_style=_STYLES[level], box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for heading in ("project", "releases", "platform", "files", "answer", "what"):
        table.add_column(heading, overflow="fold", no_wrap=heading in {"files", "answer"}, header_style="bold")
    for group in groups[:_MOST]:
        first = group.first
        count = str(len(group.findings)) if first.filename else ""
        what = first.says if not first.effect else f"{first.says}; {first.effect.value}"
        cells = [first.project, _releases(group), first.platform, count, group.status, what]
        table.add_row(*(_plain(cell) for cell in cells))
    console.print(table)
    if len(groups) > _MOST:
        console.print(_plain(f"… and {how_many(len(groups) - _MOST, 'line')} more: --format json has all", "dim"))
    by_kind = {
        (group.first.project, group.first.fault, group.status): curl_line(group.first.exchange)
        for group in reversed(groups[:_MOST])
        if group.first.exchange is not None
    }
    # What differs in kind may have been seen in one answer.
    lines = dict.fromkeys(reversed(by_kind.values()))
    if lines:
        console.print(_plain("To repeat them, one of a kind:" if len(lines) > 1 else "To repeat it:", "dim"))
    for line in lines:
        # In one piece whatever the width, so that it can be copied.
        console.print(_plain(f"  {line}"), soft_wrap=True)


def _releases(group: Findings) -> str:
    releases = group.releases
    more = len(releases) - _NAMED
    return ", ".join(releases[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _title(level: Level, groups: list[Findings]) -> str:
    count = sum(len(group.findings) for group in groups)
    name = {Level.UNCHECKED: "not checked"}.get(level, f"{level.value}{'' if count == 1 else 's'}")
    return f"{count} {name}"


def _matrix(matrix: Matrix) -> RenderableType:
    title = f"Installable from this mirror, Python {', '.join(matrix.pythons)}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    # On a narrow terminal the cells break, and not the names: without them the cells say nothing.
    table.add_column("package", header_style="bold", no_wrap=True)
    for platform in PLATFORMS:
        table.add_column(platform.title, header_style="bold")
    plain = [row for row in matrix.rows if all(row.worst(each.name) in {Cell.WHEEL, Cell.NOT_NEEDED} for each in PLATFORMS)]
    others = [each for each in matrix.worst_first() if each not in plain]
    for row in others:
        table.add_row(_plain(f"{row.project} {row.version}"), *(_cell(row, platform.name) for platform in PLATFORMS))
    if plain:
        table.add_row(
            _plain(how_many(len(plain), "package") + (" more" if others else ""), "dim"), *(Text("wheel", style="green") for _ in PLATFORMS)
        )
    verdicts = [matrix.verdict(platform.name) for platform in PLATFORMS]
    table.add_section()
    table.add_row(Text("the whole lock", style="bold"), *(_whole(verdict) for verdict in verdicts))
    return table


def _cell(row: Row, platform: str) -> Text:
    """Gives what holds for all Pythons, or the worst and for which Pythons."""
    cells = row.cells[platform]
    worst = row.worst(platform)
    word, style = _CELLS[worst]
    pythons = row.pythons(platform)
    return Text(word if len(pythons) == len(cells) else f"{word} ({', '.join(pythons)})", style=style)


def _whole(cell: Cell) -> Text:
    words = {Cell.NONE: ("NO", "bold red"), Cell.UNKNOWN: ("not known", "magenta"), Cell.SDIST: ("with builds", "yellow")}
    word, style = words.get(cell, ("yes", "bold green"))
    return Text(word, style=style)


def _conclusion(report: Report) -> Text:
    levels = report.by_level
    found = levels[Level.ERROR] + levels[Level.WARNING]
    unchecked = levels[Level.UNCHECKED]
    if report.interrupted:
        left = f"; {how_many(report.unreached, 'project')} not come to" if report.unreached else ""
        return _plain(f"Interrupted: this is what is known so far{left}.", "bold yellow")
    if found:
        return _plain(
            f"{how_many(levels[Level.ERROR], 'error')} and {how_many(levels[Level.WARNING], 'warning')}.",
            "bold red" if levels[Level.ERROR] else "yellow",
        )
    if report.incomplete and not unchecked:
        return _plain(incomplete_line(report.incomplete), "bold magenta")
    if unchecked:
        return _plain(f"{unchecked} of {how_many(len(report.projects), 'project')} could not be checked.", "bold magenta")
    reserved = list(reservations(report))
    if reserved:
        return _plain(f"No error and no warning; {'; '.join(reserved)}.", "bold green")
    return _plain("Sound: nothing was found.", "bold green")
