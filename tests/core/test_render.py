"""Choosing a form, and what is written in it."""

import json

import pytest
from selectolax.lexbor import LexborHTMLParser

from proxy.core.page import File, Fragment, Page
from proxy.core.render import Form, choose_form, proxied_links, render_page
from tests.core.files import each, page

UV = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"


@pytest.mark.parametrize(
    ("accept", "query", "form"),
    [
        (UV, None, Form.JSON),
        (None, None, Form.LEGACY_HTML),
        ("*/*", None, Form.LEGACY_HTML),
        ("text/html,application/xhtml+xml,*/*;q=0.8", None, Form.LEGACY_HTML),
        ("application/vnd.pypi.simple.latest+json", None, Form.JSON),
        ("application/vnd.pypi.simple.v1+html", None, Form.HTML),
        ("application/vnd.pypi.simple.v1+json;q=0, text/html", None, Form.LEGACY_HTML),
        ("text/html;q=0.5, application/vnd.pypi.simple.v1+html;q=0.6", None, Form.HTML),
        ("image/png", None, None),
        ("application/vnd.pypi.simple.v2+json", None, None),
        ("text/html", "application/vnd.pypi.simple.v1+json", Form.JSON),
        (UV, "text/html", Form.LEGACY_HTML),
        (UV, "nonsense", None),
    ],
)
def test_the_form_that_the_client_prefers_is_chosen(accept: str | None, query: str | None, form: Form | None) -> None:
    assert choose_form(accept, query) is form


def test_html_is_escaped_once() -> None:
    odd = File('demo-1.0<&">.tar.gz', "https://mirror.example.com/x", yanked='a < b & "c"', requires_python=">=3,<4")
    text = render_page(Page("demo", "demo", (odd,)), Form.HTML, proxied_links("demo"), each(lambda _: None)).decode()
    assert "demo-1.0&lt;&amp;&quot;&gt;.tar.gz</a>" in text
    assert 'data-requires-python="&gt;=3,&lt;4"' in text
    assert 'data-yanked="a &lt; b &amp; &quot;c&quot;"' in text
    assert "../../files/demo/demo-1.0%3C%26%22%3E.tar.gz" in text


@pytest.mark.parametrize("form", [Form.JSON, Form.LEGACY_HTML])
def test_each_file_has_a_line_of_its_own_whatever_the_mirror_says_of_it(form: Form) -> None:
    odd = [
        File(f"demo-{number}.tar.gz", "https://mirror.example.com/x", Fragment(b'"x":"a\\nb"'), yanked="a\nb\r\n") for number in range(3)
    ]
    text = render_page(Page("demo", "demo", tuple(odd)), form, proxied_links("demo"), each(lambda _: None)).decode()
    assert [line.count("tar.gz") > 0 for line in text.split("\n")].count(True) == 3
    if form is Form.JSON:
        assert [(entry["yanked"], entry["x"]) for entry in json.loads(text)["files"]] == [("a\nb\r\n", "a\nb")] * 3
    else:
        assert [anchor.attributes["data-yanked"] for anchor in LexborHTMLParser(text).css("a")] == ["a\nb\r\n"] * 3


def test_json_offers_core_metadata_under_its_own_key_only_and_html_under_both() -> None:
    offered = page("demo-1.0-py3-none-any.whl")
    as_json = render_page(offered, Form.JSON, proxied_links("demo"), each(lambda _: True)).decode()
    as_html = render_page(offered, Form.HTML, proxied_links("demo"), each(lambda _: True)).decode()
    assert '"core-metadata":true' in as_json
    assert "dist-info-metadata" not in as_json
    assert 'data-core-metadata="true" data-dist-info-metadata="true"' in as_html


def test_a_page_does_not_claim_a_version_of_the_api_that_it_does_not_fulfil() -> None:
    said = Page("demo", "demo", page("demo-1.0.tar.gz").files, api_version="1.1", versions=("1.0",))
    assert json.loads(render_page(said, Form.JSON, proxied_links("demo"), each(lambda _: None)))["meta"]["api-version"] == "1.0"
