"""docs/uv-pages.md: the rules of `core.uv_refusals`, and each case of `cases` with what uv, `check` and mirrormend do."""

import re
from collections.abc import Sequence
from pathlib import Path

from proxy.core.uv_refusals import HTML_RULES, JSON_RULES, Rule
from tests.uv_pages.asking import Row, ask, uv_version
from tests.uv_pages.cases import CASES

_HEAD = """\
# What uv refuses of a page

<!-- Made by `python -m tests.uv_pages > docs/uv-pages.md`; change proxy/core/uv_refusals.py or tests/uv_pages/cases.py instead. -->

uv reads the pages of an index strictly: one value of the wrong kind can cost every release of the project, and another kind of value
silently costs a file. `mirrormend check` reports the first two of these losses as errors, the third as a warning or a note:

| uv loses | what you see |
|---|---|
| the whole page | `uv lock` fails: it received unexpected JSON or HTML |
| the file | uv chooses another file or an older release, and says nothing |
| the value | the lock lacks a hash, a size or an upload time |

Through mirrormend uv reads each of these pages that lists files. A value that makes sense is corrected, and one that costs the page is
left out. `requires-python` that makes no sense stays, so that uv chooses the same release as at the mirror; an entry whose address is that
of the page or of a folder that the page is in is left out for the same reason.

uv {version} was asked, with each page at a mirror itself and through the proxy.

## Rules

| where | uv takes | any other value costs |
|---|---|---|
"""

_CASES_HEAD = """
Other fields, and other names in these objects, uv passes over. In HTML it passes over `data-core-metadata` that is
neither `true` nor one hash as in the fragment of a link, and asks for no metadata then.

## Values

What `check` says of a page beside the value, such as that it is in HTML only, is left out here.

| where | value | costs uv | `check` says | costs uv through mirrormend |
|---|---|---|---|---|
"""
_BESIDE = "page-html-only"


async def document(folder: Path) -> str:
    """Return the text of docs/uv-pages.md; `folder` is for the files of uv."""
    return written(await uv_version(folder), await ask(CASES, folder))


def written(version: str, rows: Sequence[Row]) -> str:
    """Return the text for that release of uv and those rows, in the order of the cases."""
    rules = [_line(f"`{rule.field}`{_form(rule)}", _escaped(rule.takes), rule.loss) for rule in (*JSON_RULES, *HTML_RULES)]
    lines = [
        _line(
            f"`{case.field}`",
            "(nothing)" if case.value in {"(none)", "(empty)"} else f"`` {_escaped(case.value)} ``",
            row.direct.loss(case),
            ", ".join(f"{each.level.value} `{each.fault.value}`" for each in row.findings if each.fault.value != _BESIDE),
            row.proxied.loss(case),
        )
        for case, row in zip(CASES, rows, strict=True)
    ]
    return _HEAD.format(version=version) + "".join(rules) + _CASES_HEAD + "".join(lines)


def version_in(text: str) -> str:
    """Return which release of uv the document is of."""
    found = re.search(r"uv ([0-9][0-9a-z.]*) was asked", text)
    assert found is not None
    return found[1]


def _form(rule: Rule) -> str:
    return " in HTML" if rule in HTML_RULES else ""


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
