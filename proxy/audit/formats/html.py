"""The report as one HTML file for people: no script, nothing from elsewhere, light and dark."""

from collections import Counter
from importlib import resources

import jinja2

from proxy.audit.curl import curl_line
from proxy.audit.findings import Level, Report
from proxy.audit.formats.left_out import incomplete_line, left_out_lines
from proxy.audit.grouping import grouped
from proxy.audit.matrix import Cell
from proxy.audit.platforms import PLATFORMS
from proxy.audit.wording import how_many, price_line, reservations
from proxy.index.explaining import moment

WORDS = {Cell.WHEEL: "wheel", Cell.SDIST: "sdist", Cell.NONE: "none", Cell.UNKNOWN: "not known", Cell.NOT_NEEDED: "not needed"}
WHOLES = {Cell.WHEEL: "yes", Cell.SDIST: "with builds", Cell.NONE: "no", Cell.UNKNOWN: "not known", Cell.NOT_NEEDED: "yes"}


def html_of(report: Report) -> str:
    """Return the report as HTML text."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(resources.files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8"))
    projects = []
    for project in report.projects:
        if project.findings:
            counts = Counter(each.level for each in project.findings)
            levels = [(level, counts[level]) for level in Level if counts[level]]
            projects.append((project, grouped(project.findings, by_release=True), levels))
    # Where the gravest findings are, somebody looks first.
    order = list(Level)
    projects.sort(key=lambda each: order.index(each[2][0][0]))
    return template.render(
        report=report,
        left_out=list(left_out_lines(report.sources)),
        incomplete=incomplete_line(report.incomplete),
        headline=_headline(report),
        how_many=how_many,
        price=price_line(report),
        facts=_facts(report),
        projects=projects,
        rows=[] if report.matrix is None else report.matrix.worst_first(),
        platforms=PLATFORMS,
        words=WORDS,
        wholes=WHOLES,
        moment=moment,
        curl=curl_line,
    )


def _headline(report: Report) -> str:
    sound = "No error and no warning at" if any(reservations(report)) else "Sound:"
    return {0: sound, 1: "Findings at", 2: "Not fully checked:"}[report.exit_status]


def _facts(report: Report) -> list[tuple[str, int, str]]:
    levels, projects = report.by_level, report.projects
    facts = [
        ("Projects", len(projects), ""),
        ("Files asked about", sum(each.files - each.unasked for each in projects), ""),
        ("Not asked about", sum(each.unasked for each in projects), ""),
        ("Undeliverable", sum(each.undeliverable for each in projects), "error"),
        ("Unknown", sum(each.unknown for each in projects), "unchecked"),
    ]
    names = {Level.ERROR: "Errors", Level.WARNING: "Warnings", Level.NOTE: "Notes", Level.UNCHECKED: "Projects not checked"}
    facts += [(names[level], levels[level], level.value) for level in Level]
    return [(name, count, kind if count else "") for name, count, kind in facts]
