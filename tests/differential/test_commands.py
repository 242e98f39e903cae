"""The command: it looks at folders, at index folders and at running servers, and it notices a proxy that delivers other bytes."""

import sys
from pathlib import Path

import pytest

from tests.differential.__main__ import main
from tests.differential.commands import made_up_pages, of_server
from tests.differential.contents import Content, content_of
from tests.differential.folders import page_files
from tests.differential.harness import Comparison, proxied_server
from tests.differential.standin import SourcePage, StandIn, Written

WHEEL = "demo-1.0-py3-none-any.whl"
PAGE = f'<html><head><title>Links for demo</title></head><body><a href="{WHEEL}">{WHEEL}</a></body></html>'


def _serve(mirror: StandIn, content: Content) -> None:
    mirror.pages["demo"] = SourcePage("demo", (Written(PAGE.encode()),))
    mirror.deliver(f"{mirror.page_url('demo')}{WHEEL}", content)


async def test_a_running_server_is_looked_at_project_by_project() -> None:
    async with StandIn() as mirror:
        _serve(mirror, content_of(WHEEL, "a"))
        mirror.pages["other"] = SourcePage("other", (Written(b"<html><head><title>Links for other</title></head></html>"),))
        assert await of_server(mirror.url, []) == (2, [])
        assert await of_server(mirror.url, ["demo"]) == (1, [])


async def test_a_proxy_that_delivers_other_bytes_is_noticed() -> None:
    async with StandIn() as mirror, StandIn() as another:
        _serve(mirror, content_of(WHEEL, "a"))
        _serve(another, content_of(WHEEL, "b"))
        async with proxied_server(another.url) as run:
            found = await Comparison(mirror.url, run.proxy_url, run.session).project("demo")
    assert {each.kind for each in found} >= {"other bytes"}


async def test_a_proxy_that_lacks_a_page_is_noticed() -> None:
    async with StandIn() as mirror, StandIn() as another:
        _serve(mirror, content_of(WHEEL, "a"))
        async with proxied_server(another.url) as run:
            found = await Comparison(mirror.url, run.proxy_url, run.session).project("demo")
    assert {each.kind for each in found} == {"page fails"}


def test_a_folder_has_pages_in_files_and_in_folders_of_an_index(tmp_path: Path) -> None:
    (tmp_path / "Some_Project").mkdir()
    (tmp_path / "Some_Project" / "index.html").write_text(PAGE, encoding="utf-8")
    (tmp_path / "page.html").write_text(PAGE, encoding="utf-8")
    (tmp_path / "page.json").write_text('{"name": "Named", "files": []}', encoding="utf-8")
    (tmp_path / "other.json").write_text('{"name": "no page"}', encoding="utf-8")
    assert [(each.title, each.project) for each in page_files(tmp_path)] == [
        ("Some_Project/index.html", "some-project"),
        ("page.html", "demo"),
        ("page.json", "named"),
    ]


def test_hosts_become_paths_of_the_mirror_and_nothing_else_changes(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(f'<a href="https://files.example.com/x/{WHEEL}#sha256=0">x</a> http: //', encoding="utf-8")
    (form,) = page_files(tmp_path)[0].page("http://127.0.0.1:1").forms
    assert form.body.decode() == f'<a href="http://127.0.0.1:1/at/files.example.com/x/{WHEEL}#sha256=0">x</a> http: //'


def test_the_same_seed_makes_up_the_same_pages() -> None:
    assert made_up_pages(5, 3) == made_up_pages(5, 3)


def test_the_command_says_how_many_pages_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.html").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["differential", str(tmp_path), "--client", "pip,pypi-simple,uv"])
    assert main() == 0
    assert "1 pages or pairs of runs, 0 differences" in capsys.readouterr().out


@pytest.mark.parametrize("size", [None, 100, 5_000, 3_000_000])
def test_a_file_of_any_size_keeps_what_tells_it_apart(size: int | None) -> None:
    one, other = content_of(WHEEL, "a", size), content_of(WHEEL, "b", size)
    assert one.size == other.size == len(one.whole)
    assert size in {None, one.size}
    assert one.part(0, min(511, one.size - 1)) != other.part(0, min(511, one.size - 1))
