"""docs/uv-pages.md is what the real uv does; `check` accuses a page where uv gives up and nowhere else; the proxy mends what uv refuses."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.audit.findings import Fault, Level
from proxy.audit.refused_values import refused_in_json
from proxy.core.errors import PageUnreadable
from proxy.core.parse import parse_page
from proxy.core.render.forms import Form
from proxy.core.render.pages import proxied_links, render_page
from proxy.core.uv_refusals import HTML_RULES, JSON_RULES, Loss
from tests.clients import Uv, write_project
from tests.listing import JSON_TYPE
from tests.mirror import BrokenMirror
from tests.property.strategies import json_values, odd_pages
from tests.uv_pages.asking import NOTHING, Row, ask, uv_version
from tests.uv_pages.cases import (
    ADVERTISEMENTS,
    CASES,
    METADATA_ATTRIBUTES,
    MOMENTS,
    NO_MOMENTS,
    NO_SPECIFIERS,
    SPECIFIERS,
    Case,
    in_entry,
    in_html,
    on_page,
)
from tests.uv_pages.document import version_in, written

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "uv-pages.md"
WITHOUT_FILE = ("files", "filename", "url")
"""Of a page that lists none, and of an entry without a name or an address, nothing is left to be mended."""

READ_OTHERWISE_BEFORE = (str(2**64 - 1), "sha256=", "sha256=short")
"""Values that older releases of uv refuse or ask metadata for: the largest size, and digests of metadata that are none."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Row]]:
    """Return the release of the installed uv, and what it does with the cases."""
    folder = tmp_path_factory.mktemp("uv-pages")
    return asyncio.run(uv_version(folder)), asyncio.run(ask(CASES, folder))


def is_documented(release: str) -> bool:
    return release == version_in(DOCUMENT.read_text(encoding="utf-8"))


@pytest.mark.timeout(300)
def test_the_document_is_what_the_installed_uv_does(asked: tuple[str, list[Row]]) -> None:
    release, rows = asked
    now, kept = written(release, rows), DOCUMENT.read_text(encoding="utf-8")
    # Other releases may take or refuse other values. That is no fault of mirrormend's as long as it mends what they refuse.
    if is_documented(release):
        pairs = zip(now.splitlines(), kept.splitlines(), strict=False)
        differing = [f"now:  {each}\nkept: {then}" for each, then in pairs if each != then]
        assert now == kept, "\n".join(["run: python -m tests.uv_pages > docs/uv-pages.md", *differing])


@pytest.mark.timeout(300)
def test_through_the_proxy_uv_reads_every_page_and_loses_nothing_that_it_has_at_the_mirror(asked: tuple[str, list[Row]]) -> None:
    release, rows = asked
    for case, row in zip(CASES, rows, strict=True):
        through, direct = row.proxied.loss(case), row.direct.loss(case)
        if not (case.field in WITHOUT_FILE and direct == Loss.PAGE and case.value != "said twice"):
            assert through != Loss.PAGE, (case.field, case.value, row.proxied.stderr)
            # Where uv passes over a file at the mirror, it is to choose the same release through the proxy.
            assert through != Loss.FILE or direct == Loss.FILE, (case.field, case.value, row.proxied.stderr)
        # Other releases may put other values into the lock.
        if is_documented(release) and direct == NOTHING and case.value != str(2**64 - 1):
            assert through == NOTHING, (case.field, case.value)


@pytest.mark.timeout(300)
def test_check_accuses_a_page_where_uv_gives_up_and_nowhere_else(asked: tuple[str, list[Row]]) -> None:
    release, rows = asked
    wrong = [
        (case.field, case.value, row.direct.loss(case), row.findings)
        for case, row in zip(CASES, rows, strict=True)
        if not is_right_of(row, release, gives_up=row.direct.loss(case) in {Loss.PAGE, Loss.FILE})
    ]
    assert [each for each in wrong if is_documented(release) or each[1] not in READ_OTHERWISE_BEFORE] == []


@pytest.mark.timeout(300)
def test_check_says_of_each_value_that_uv_passes_over_that_it_is_lost(asked: tuple[str, list[Row]]) -> None:
    release, rows = asked
    for case, row in zip(CASES, rows, strict=True):
        lost = row.direct.loss(case)
        found = {each.level for each in row.findings if each.fault is not Fault.PAGE_HTML_ONLY}
        if lost == "the size":
            assert found == {Level.NOTE} or not is_documented(release), (case.field, case.value)
        elif lost not in {NOTHING, Loss.PAGE, Loss.FILE}:
            assert found == {Level.WARNING} or not is_documented(release), (case.field, case.value)


def is_right_of(row: Row, release: str, *, gives_up: bool) -> bool:
    """Tell whether `check` says of a page what uv does: of another than the documented release, that no page it gives up on is sound."""
    return row.accused or not gives_up if not is_documented(release) else row.accused == gives_up


@pytest.mark.timeout(120)
async def test_metadata_is_advertised_in_html_where_uv_asks_for_it_and_nowhere_else(tmp_path: Path) -> None:
    uv = Uv(tmp_path)
    async with BrokenMirror() as mirror:
        for number, value in enumerate((*METADATA_ATTRIBUTES, *ADVERTISEMENTS)):
            name = f"p{number}"
            files = [mirror.add(f"{name}-{version}-py3-none-any.whl") for version in ("1.0", "2.0")]
            case = in_html("data-core-metadata", value, attributes=f'data-core-metadata="{value}"')
            mirror.set_page(name, case.write(files[0], files[1], name), case.content_type)
            await uv.lock(write_project(tmp_path / name, [name]), mirror.url)
            raw = mirror.projects[name].raw
            assert raw is not None
            page = parse_page(raw.body, raw.content_type, mirror.page_url(name), name)
            (file,) = [each for each in page.files if each.filename == files[1].filename]
            if value not in READ_OTHERWISE_BEFORE or is_documented(await uv_version(tmp_path)):
                assert bool(file.core_metadata) == bool(mirror.asked_for(f"metadata:{file.filename}")), value


@pytest.mark.timeout(300)
def test_an_accusation_names_the_field_and_an_example(asked: tuple[str, list[Row]]) -> None:
    by_case = {(case.field, case.value): row for case, row in zip(CASES, asked[1], strict=True)}
    for field, value in (("requires-python", '">=3.x"'), ("size", str(2**64)), ("upload-time", '"2024-01-02T03:04:05"')):
        (error,) = [each for each in by_case[field, value].findings if each.level is Level.ERROR]
        assert f"-2.0-py3-none-any.whl: {field} is {value}" in error.says


@pytest.mark.timeout(300)
def test_every_rule_has_a_case_that_breaks_it(asked: tuple[str, list[Row]]) -> None:
    said = "\n".join(each.says for row in asked[1] for each in row.findings)
    for rule in (*JSON_RULES, *HTML_RULES):
        assert f"uv takes {rule.takes}" in said, rule


def letters(examples: Sequence[str], alphabet: str) -> st.SearchStrategy[str]:
    """Texts that are nearly one of the examples: some letters changed, put in or left out."""

    @st.composite
    def nearly(draw: st.DrawFn) -> str:
        text = list(draw(st.sampled_from(examples)))
        for _ in range(draw(st.integers(0, 3))):
            place = draw(st.integers(0, len(text)))
            text[place : place + draw(st.integers(0, 1))] = draw(st.text(alphabet, max_size=1))
        return "".join(text)

    return nearly()


moments = letters([*MOMENTS, *NO_MOMENTS], "0123456789-:TtZz +.,[]/")
specifiers = letters([*SPECIFIERS, *NO_SPECIFIERS], "0123456789.,<>=!~* +-'\"abcdevrpost")
digests = st.sampled_from(["a" * 32, "a" * 64, "A" * 64, "a" * 96, "b" * 128, "g" * 64, "short", "", None, 3])
hashes = st.dictionaries(st.sampled_from(["md5", "sha256", "sha384", "sha512", "blake2b", "sha1", "x"]), digests, max_size=3)
statuses = st.dictionaries(st.sampled_from(["status", "reason", "x"]), json_values, max_size=3) | st.lists(json_values, max_size=3)
sizes = st.integers(-2, 2**66) | st.floats(allow_nan=False, allow_infinity=False)
odd_cases = st.one_of(
    st.builds(in_entry, st.just("upload-time"), moments | json_values),
    st.builds(in_entry, st.just("requires-python"), specifiers | json_values),
    st.builds(in_entry, st.just("size"), sizes | json_values),
    st.builds(in_entry, st.just("hashes"), hashes | json_values),
    st.builds(in_entry, st.just("yanked"), json_values.filter(lambda value: value is not True and not isinstance(value, str))),
    st.builds(in_entry, st.sampled_from(["gpg-sig", "provenance", "data-core-metadata", "x"]), json_values),
    st.builds(in_entry, st.sampled_from(["core-metadata", "dist-info-metadata"]), json_values.filter(lambda value: value is not True)),
    st.builds(on_page, st.just("project-status"), statuses | json_values),
    st.builds(on_page, st.sampled_from(["meta", "name", "versions", "alternate-locations", "x"]), json_values),
    st.builds(
        lambda fragment: in_html("the fragment of a link", fragment, fragment=fragment),
        letters([f"#sha256={'a' * 64}", f"#md5={'a' * 32}", "#egg=demo", "#top", f"#sha256={'a' * 64}&egg=demo"], "#=&%aAg sS256?/"),
    ),
)


@pytest.mark.timeout(600)
@settings(max_examples=5)
@given(st.lists(odd_cases, min_size=40, max_size=60))
def test_whatever_a_page_says_check_accuses_it_where_uv_gives_up_and_nowhere_else(cases: list[Case]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        release = asyncio.run(uv_version(Path(folder)))
        rows = asyncio.run(ask(cases, Path(folder), proxied=False))
    for case, row in zip(cases, rows, strict=True):
        assert is_right_of(row, release, gives_up=gives_up(row)), (case.field, case.value, row.findings, row.direct.stderr)


def gives_up(row: Row) -> bool:
    """Tell whether uv refused the page, or passed over a file whose `requires-python` it cannot read."""
    said = row.direct.stderr
    return any(words in said for words in ("unexpected JSON", "unexpected HTML", "Failed to parse `requires-python`"))


@given(odd_pages())
def test_no_page_that_is_served_has_a_value_for_which_uv_refuses_it(body: bytes) -> None:
    try:
        page = parse_page(body, JSON_TYPE, "https://mirror.example.com/simple/demo/", "demo")
    except PageUnreadable:
        return
    served = render_page(page, Form.JSON, proxied_links("demo"), lambda files: [None] * len(files))
    assert [each for each in refused_in_json(served) if each.refusal.rule.loss is Loss.PAGE] == []
