"""The differential itself: it notices each thing that a proxy could lose, and does not complain of what no client can tell."""

from dataclasses import replace

import pytest

from tests.differential.comparison import Context, compare
from tests.differential.contents import address_key
from tests.differential.observations import Entry, Reading, Response, Unreadable
from tests.differential.readers import READERS

URL = "http://127.0.0.1:1/simple/demo/"
SHA256, OTHER = "0123456789abcdef" * 4, "f" * 64
WHEEL = f'<a href="/f/demo-1.0-py3-none-any.whl#sha256={SHA256}" ATTRIBUTES>demo-1.0-py3-none-any.whl</a>'
SDIST = '<a href="/f/demo-1.0.tar.gz">demo-1.0.tar.gz</a>'


def _reading(client: str, body: str) -> Reading:
    return READERS[client](Response(200, {"content-type": "text/html"}, body.encode(), URL), "demo")


def _kinds(client: str, direct: str, proxied: str, dropped: str = "") -> set[str]:
    stated: dict[str, list[Entry]] = {}
    for entry in _reading("fields", direct).entries:
        stated.setdefault(address_key(entry.url), []).append(entry)
    context = Context(client, "demo", "html for uv", stated, dropped=frozenset({dropped} - {""}))
    differences, _ = compare(_reading(client, direct), _reading(client, proxied), context)
    return {each.kind for each in differences}


def _wheel(attributes: str = "") -> str:
    return WHEEL.replace("ATTRIBUTES", attributes)


@pytest.mark.parametrize("client", ["pip", "pypi-simple", "fields"])
@pytest.mark.parametrize(
    ("direct", "proxied", "kind"),
    [
        (_wheel() + SDIST, SDIST, "entry missing"),
        (_wheel() + SDIST, _wheel(), "entry missing"),
        (_wheel() + _wheel(), _wheel(), "entry missing"),
        (SDIST, _wheel() + SDIST, "entry added"),
        (_wheel() + SDIST, SDIST + _wheel(), "order"),
        (_wheel(), _wheel().replace(SHA256, OTHER), "fact: hashes"),
        (_wheel(), _wheel().replace(f"#sha256={SHA256}", ""), "fact: hashes"),
        (_wheel('data-core-metadata="true"'), _wheel(), "fact: core-metadata"),
        (SDIST.replace("<a", '<a data-core-metadata="true"'), SDIST, "fact: core-metadata"),
        (_wheel('data-yanked="bad"'), _wheel(), "fact: yanked"),
        (_wheel('data-yanked="bad"'), _wheel('data-yanked="worse"'), "fact: yanked"),
        (_wheel(), _wheel('data-yanked="bad"'), "fact: yanked"),
        (_wheel('data-requires-python="&gt;=3.8"'), _wheel(), "fact: requires-python"),
        (_wheel('data-requires-python="&gt;=3.8"'), _wheel('data-requires-python="&gt;=3.9"'), "fact: requires-python"),
    ],
)
def test_whatever_a_client_no_longer_sees_is_a_difference(client: str, direct: str, proxied: str, kind: str) -> None:
    assert _kinds(client, direct, proxied) == {kind}


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ('data-upload-time="2024-01-02T03:04:05Z"', "fact: upload-time"),
        ('data-size="12"', "fact: size"),
        ('data-gpg-sig="true"', "fact: gpg-sig"),
        ('data-provenance="https://mirror.example.com/p"', "fact: provenance"),
    ],
)
def test_a_field_that_is_lost_is_a_difference(attributes: str, kind: str) -> None:
    assert _kinds("fields", _wheel(attributes), _wheel()) == {kind}


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ('<meta name="pypi:repository-version" content="1.3">', "page: api-version"),
        ('<meta name="pypi:tracks" content="https://mirror.example.com/">', "page: tracks"),
        ('<meta name="pypi:alternate-locations" content="https://mirror.example.com/">', "page: alternate-locations"),
        ('<meta name="pypi:project-status" content="archived">', "page: project-status"),
    ],
)
def test_what_is_said_of_the_whole_page_and_lost_is_a_difference(head: str, kind: str) -> None:
    assert _kinds("fields", head + _wheel(), _wheel()) == {kind}


@pytest.mark.parametrize("client", ["pip", "pypi-simple", "fields"])
@pytest.mark.parametrize(
    ("direct", "proxied"),
    [
        (_wheel() + SDIST, _wheel().replace("/f/", "/files/demo/") + SDIST.replace("/f/", "../../files/demo/")),
        (_wheel(), _wheel('data-core-metadata="true"')),
        (_wheel('data-core-metadata="false"'), _wheel()),
        (_wheel() + '<a href="../">up</a><a href="mailto:a@example.com">m</a><a>n</a>', _wheel()),
        (_wheel(), _wheel().replace("<a", "<A").replace("href", "HREF")),
        (_wheel().replace(SHA256, SHA256.upper()), _wheel()),
        (SDIST.replace('.gz"', '.gz#size=12"'), SDIST),
    ],
)
def test_what_no_client_can_tell_is_none(client: str, direct: str, proxied: str) -> None:
    assert _kinds(client, direct, proxied) == set()


def test_a_dead_file_has_to_go_and_no_other() -> None:
    dead = "/f/demo-1.0.tar.gz"
    assert _kinds("pip", _wheel() + SDIST, _wheel(), dead) == set()
    assert _kinds("pip", _wheel() + SDIST, _wheel() + SDIST, dead) == {"dead file kept"}
    assert _kinds("pip", _wheel() + SDIST, SDIST, dead) == {"entry missing", "dead file kept"}


def test_of_one_name_twice_each_entry_belongs_to_the_one_that_is_most_alike() -> None:
    one, other = _reading("pip", _wheel('data-yanked="a"') + _wheel('data-yanked="b"')), _reading("pip", _wheel('data-yanked="b"'))
    differences, pairs = compare(one, other, Context("pip", "demo", "html for uv"))
    assert [each.kind for each in differences] == ["entry missing"]
    assert [before.facts["yanked"] for before, _ in pairs] == ["b"]


def test_a_page_that_a_client_cannot_read_is_told_by_its_reader() -> None:
    good = Response(200, {"content-type": "text/html"}, _wheel().encode(), URL)
    for read in READERS.values():
        assert read(good, "demo").entries
        for bad in (replace(good, status=502), replace(good, headers={"content-type": "text/plain"})):
            with pytest.raises(Unreadable):
                read(bad, "demo")
