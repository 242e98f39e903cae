"""The pages for people, made from what is known at that moment. No script, nothing from elsewhere, every value escaped by the template."""

from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import jinja2

from proxy.core.verdict.reason import Reason
from proxy.core.verdict.settle import Mended
from proxy.status.chart import chart_of
from proxy.status.grid import Grid, Row, State
from proxy.status.snapshot import Status

STATES = {
    "answers": ("The mirror answers", "good"),
    "fails": ("The mirror failed when it was asked last", "warn"),
    "rests": ("The mirror does not answer, and is left alone for a while", "bad"),
    "unknown": ("The mirror was not asked yet", "soft"),
}
CAUSES = {
    "absent": "not there",
    "blocked": "blocked by the mirror",
    "no-file": "what comes is no such file",
    "authentication": "credentials are wanted",
    "mirror-error": "the mirror fails",
    "no-answer": "no answer",
    "not-understood": "an answer that says nothing",
    "release-dropped": "its release has no wheel left",
}
REASONS = {
    Reason.AWAITED: ("a page waits for them", "[probe] budget"),
    Reason.CONSTRAINT: ("a resolver may choose them", "[probe] budget"),
    Reason.DEMAND: ("clients want their releases", "[probe] budget"),
    Reason.BACKGROUND: ("nobody waits for them", "[probe] rate, budget"),
    Reason.PROOF: ("denied, so asked for again", "[verdict] no, no_keep"),
    Reason.WITNESS: ("known to be good, asked for beside", "[verdict] witness"),
}
"""Why files are asked for, and which settings lower that."""

MARKS = {State.DELIVERED: "✓", State.DROPPED: "✗", State.HELD: "!", State.RESCUED: "↺", State.UNKNOWN: "?", State.UNASKED: "·"}


def overview(status: Status) -> str:
    """Return the page about the proxy and its mirrors as HTML."""
    totals = status.totals
    return _template("overview").render(
        status=status,
        mirrors=[each.name for each in status.mirrors],
        project="",
        mirror="",
        states=STATES,
        causes=CAUSES,
        reasons=REASONS,
        totals=[
            ("Requests answered", totals.requests),
            ("Probes", totals.probes),
            ("Files dropped", totals.dropped),
            ("Files that came back", totals.restored),
            ("Files proven absent too late for a lock", totals.proven_late),
            ("Storms", totals.storms),
        ],
        chart=chart_of(status.minutes),
        moment=_moment,
        span=_span,
        ago=_ago(status.at),
        address=_address,
    )


def project_page(name: str, mirror: str, mirrors: list[str], grid: Grid, mended: Mended, *, may_verify: bool, now: float) -> str:
    """Gives the page about one project: its releases by what their files are for. `now` is in seconds since the epoch."""
    undeliverable = [
        known
        for row in grid.rows
        for column in row.files.values()
        for known in column
        if known.state in {State.DROPPED, State.HELD, State.RESCUED, State.UNKNOWN}
    ]
    return _template("project").render(
        project=name,
        mirror=mirror,
        mirrors=mirrors,
        grid=grid,
        said=_said(mended),
        undeliverable=undeliverable,
        may_verify=may_verify,
        names=_names,
        marks=MARKS,
        causes=CAUSES,
        ago=_ago(now),
        problem=None,
    )


def problem_page(name: str, mirror: str, mirrors: list[str], title: str, detail: str) -> str:
    """Gives the page about a project of which nothing can be said, because of the problem."""
    problem = {"title": title, "detail": detail}
    return _template("project").render(project=name, mirror=mirror, mirrors=mirrors, problem=problem)


def _said(mended: Mended) -> str:
    listed, dropped = mended.page.count, len(mended.dropped)
    words = [f"{counted(listed, 'file')} {'is' if listed == 1 else 'are'} listed", f"{dropped} {'was' if dropped == 1 else 'were'} dropped"]
    words += [f"{mended.unasked} {'was' if mended.unasked == 1 else 'were'} not asked about yet"] if mended.unasked else []
    words += [f"{sum(mended.unknown.values())} gave no clear answer"] if mended.unknown else []
    words += [f"{len(mended.rescued)} {'comes' if len(mended.rescued) == 1 else 'come'} from the second index"] if mended.rescued else []
    held = " All files were found undeliverable, so the page is served as the mirror has it." if mended.held else ""
    return f"{', '.join(words)}.{held}"


def counted(number: int, thing: str) -> str:
    """Gives a number of things in words, such as `1 file` or `1,200 files`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _names(row: Row, column: str, state: State) -> str:
    return ", ".join(known.file.filename for known in row.files[column] if known.state is state)


def _address(mirror: str, project: str) -> str:
    return f"?{urlencode({'mirror': mirror, 'project': project})}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), name)
    return f"{max(0, int(seconds))} s"


def _ago(now: float) -> Any:
    return lambda seconds: "" if seconds is None else f"{_span(now - seconds)} ago"


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("proxy.status")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["counted"] = counted
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(f"{name}.html.jinja")
