"""Words that several forms of the report have in common: counts, and how it went where nothing grave was found."""

from collections.abc import Iterator

from proxy.audit.findings import Level, Report
from proxy.audit.matrix import Cell
from proxy.audit.platforms import PLATFORMS

_CANNOT_BE_INSTALLED = {
    Cell.NONE: "not all of it can be installed on",
    Cell.UNKNOWN: "not known whether all of it can be installed on",
}


def how_many(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 package` or `2 packages`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def price_line(report: Report) -> str:
    """Return how many requests for files there were for which reason; empty where there were none."""
    costs = [f"{cost.reason} {cost.requests} ({how_many(cost.files, 'file')})" for cost in report.price if cost.requests]
    return f"Requests for files: {', '.join(costs)}." if costs else ""


def reservations(report: Report) -> Iterator[str]:
    """Return what keeps a report without errors and warnings from being simply sound: notes, and platforms for which the lock fails."""
    notes = report.by_level[Level.NOTE]
    if notes:
        yield how_many(notes, "note")
    if report.matrix is None:
        return
    for cell, says in _CANNOT_BE_INSTALLED.items():
        platforms = [each.title for each in PLATFORMS if report.matrix.verdict(each.name) is cell]
        if platforms:
            yield f"{says} {', '.join(platforms)}"
