"""The report as annotations of GitHub Actions (its workflow commands), which Forgejo and Gitea read, too.

An annotation stands at the line of the lock that names the package; findings that are alike are one annotation, since a run shows few.
"""

from proxy.audit.curl import curl_line
from proxy.audit.findings import Level, Report
from proxy.audit.formats.left_out import left_out_lines
from proxy.audit.grouping import Group, grouped
from proxy.audit.wanted import OMISSIONS, LeftOut
from proxy.audit.wording import how_many

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice", Level.UNCHECKED: "warning"}
_NAMED = 5


def github_of(report: Report) -> str:
    """Gives a workflow command on each line, the gravest first, and one that says how it went."""
    lines = [_annotation(group) for group in grouped(report.findings, by_release=True)]
    levels = report.by_level
    counts = (
        how_many(levels[Level.ERROR], "error"),
        how_many(levels[Level.WARNING], "warning"),
        how_many(levels[Level.UNCHECKED], "project"),
    )
    said = f"{report.mirror}: {', '.join(counts)} not checked"
    lines += [_left_out(each) for each in report.incomplete]
    said = "; ".join([said, *(each.rstrip(".") for each in left_out_lines(report.sources))])
    if report.interrupted:
        said += "; the check was interrupted"
    return "\n".join([*lines, f"::notice title=mirrormend check::{_data(said)}"]) + "\n"


def _left_out(entry: LeftOut) -> str:
    properties = {"title": "not checked"}
    if entry.place is not None:
        properties = {"file": entry.place.path, "line": str(entry.place.line), **properties}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::warning {written}::{_data(f'{entry.text}: {OMISSIONS[entry.omission]}')}"


def _annotation(group: Group) -> str:
    first = group.first
    title = " ".join(each for each in (first.project, first.release, first.platform) if each)
    properties = {"title": f"{title}: {first.fault.value}"}
    if first.place is not None:
        properties = {"file": first.place.path, "line": str(first.place.line), **properties}
    text = [first.says + (f"; {first.effect.value}" if first.effect else "")]
    names = [each.filename for each in group.findings if each.filename]
    text += names[:_NAMED] + ([f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else [])
    if first.exchange is not None:
        text.append(curl_line(first.exchange))
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_COMMANDS[first.level]} {written}::{_data(chr(10).join(text))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
