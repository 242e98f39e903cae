"""What the demo says. Only sentences may live here, plain ones: they are read in terminals and in logs of CI alike."""

import re
from collections.abc import Sequence

from proxy.demo.comparing import Comparison
from proxy.demo.locking import Lock
from proxy.demo.mirror import DEPENDENT, MISSING, PROJECT, VERSION

_WIDTH = 96

HEAD = f"""\
A package mirror is made up on this machine, with a fault that real ones have: it lists
  {MISSING}
and answers 404 to whoever asks for it. The other wheels of {PROJECT} {VERSION} are there.
my-app requires {DEPENDENT}, which requires {PROJECT}. No Mac has a part in this.
"""

NO_UV = """\
uv was not found, so no lock is made; to see one: pip install uv
Here is what the mirror lists, and what mirrormend makes of it.
"""

_WHY_IT_FAILED = """\
uv locks for all platforms: of each version it reads the metadata of one wheel, the first by
name, and that is the macOS one, on Linux and Windows too.
"""


def heading(text: str) -> str:
    """Gives a heading of plain text."""
    return f"{text}\n{'-' * len(text)}"


def direct_told(lock: Lock) -> str:
    """Gives how the lock from the mirror itself went, and why."""
    return f"{lock_told(lock)}{_WHY_IT_FAILED if lock.chosen is None and MISSING in lock.said else ''}"


def lock_told(lock: Lock) -> str:
    """Gives the command as somebody would type it, what it said, and how it ended."""
    said = "\n".join(_folded(f"  {line}") for line in lock.said.splitlines())
    return f"$ {lock.command}\n{said}\n=> {_ending(lock)}\n"


def _folded(line: str) -> str:
    """Breaks a long line of uv's after a space or a slash: its errors repeat long URLs."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    lines = [""]
    for piece in re.findall(r"\s*[^\s/]+/*|\s*/+", line):
        if lines[-1].strip() and len(lines[-1]) + len(piece) > _WIDTH:
            lines.append(indent + piece.lstrip())
        else:
            lines[-1] += piece
    return "\n".join(lines)


def _ending(lock: Lock) -> str:
    how = "FAILED" if lock.chosen is None else f"locked {PROJECT} {lock.chosen}"
    return f"{how} in {lock.seconds:.2f} s"


def repair_told(pages: Comparison) -> str:
    """Gives what left the page, and why."""
    lines = []
    for filename, answer in pages.dropped.items():
        lines += ["Dropped from the page:", f"  {filename}", "because the mirror, asked for it, says:", f"  {answer}"]
    lines.append(f"The other {len(pages.mended.files)} files are listed as before. The page tells about it in its headers:")
    lines += [f"  {name}: {value}" for name, value in sorted(pages.mended.headers.items())]
    return "\n".join([*lines, ""])


def files_told(pages: Comparison) -> str:
    """Gives the files that the mirror lists, with a mark where one left the page."""
    return "\n".join([*(f"  {'dropped' if name in pages.dropped else 'kept':7}  {name}" for name in pages.mirror.files), ""])


def summary(direct: Lock | None, through: Lock | None, pages: Comparison) -> str:
    """Gives both ways side by side."""
    rows = [("", "the mirror itself", "through mirrormend")]
    if direct is not None and through is not None:
        rows.append(("uv lock", _ending(direct), _ending(through)))
    rows.append(("files on the page", str(len(pages.mirror.files)), str(len(pages.mended.files))))
    rows.append(("not delivered", str(len(pages.mirror.failing)), str(len(pages.mended.failing))))
    return "\n".join([*_table(rows), ""])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def conclusion(direct: Lock | None, *, worked: bool) -> str:
    """Gives the sentence at the end."""
    if not worked:
        return "It was not mended on this machine. Please report that, with all that stands above."
    text = "For a mirror of yours: mirrormend serve --upstream URL"
    if direct is not None and direct.chosen is not None:
        text = f"This uv does not read the wheel that is missing, so it locks either way; other releases of uv fail.\n{text}"
    return text


def addresses_told(mirror: str, mended: str) -> str:
    """Gives what to try while both are up; both are given by their simple APIs."""
    return f"""
Both stay up until Ctrl-C. To try:
  the mirror's page  curl {mirror}{PROJECT}/
  the mended page    curl -i {mended}{PROJECT}/
  the status page    {mended.removesuffix("simple/")}
  a lock             uv lock --default-index {mended}
  an installation    uv pip install -t here --default-index {mended} {PROJECT}"""


def mirror_told(mirror: str) -> str:
    """Gives what the broken mirror is, while it is up alone."""
    return f"""\
A broken mirror is up until Ctrl-C; it lists {MISSING} and answers 404 for it.
  its simple API  {mirror}
  to mend it      mirrormend serve --upstream {mirror}
  projects        {PROJECT}, and {DEPENDENT}, which requires it"""
