"""Addresses of indexes: which of them lead to the same one, and what may be told of them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.index_urls import comparable_url, is_proxied_file, mirror_name_at_proxy, same_for_uv, same_mirror, shown_url

MIRROR = "https://mirror.example.com/pypi/simple/"

SPELLINGS = [
    "https://mirror.example.com/pypi/simple",
    "https://mirror.example.com/pypi/simple//",
    "HTTPS://Mirror.Example.COM/pypi/simple/",
    "https://mirror.example.com:443/pypi/simple/",
    "https://mirror.example.com./pypi/simple/",
    "https://reader:secret@mirror.example.com/pypi/simple/",
    "https://mirror.example.com/pypi/simple/index.html",
    "https://mirror.example.com/pypi/./other/../simple/",
    "https://mirror.example.com/pypi/%2e/simple/",
    "https://mirror.example.com/%70ypi/simple/",
    "https://mirror.example.com/pypi/simple/#fragment",
    " https://mirror.example.com/pypi/simple/ ",
    "http://mirror.example.com/pypi/simple/",
]

OTHERS = [
    "https://mirror.example.com/PyPI/simple/",
    "https://mirror.example.com:8443/pypi/simple/",
    "https://mirror.example.com/private/simple/",
    "https://mirror.example.com/pypi/simple/demo/",
    "https://mirror.example.com/pypi/simple/?repository=private",
    "https://mirror.example.com/pypi%2Fsimple/",
    "https://mirror.example.com.evil.example.com/pypi/simple/",
    "https://mirror.example.com@evil.example.com/pypi/simple/",
    "file:///mirror.example.com/pypi/simple/",
    "../pypi/simple",
    "C:\\pypi\\simple",
    "https:///pypi/simple/",
    "https://mirror.example.com:port/pypi/simple/",
    "https://[mirror/pypi/simple/",
    "",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_index_has_many_spellings(spelling: str) -> None:
    assert same_mirror(MIRROR, spelling)
    assert same_mirror(spelling, MIRROR)


@pytest.mark.parametrize("other", OTHERS)
def test_another_index_is_no_spelling(other: str) -> None:
    assert not same_mirror(MIRROR, other)
    assert not same_mirror(other, MIRROR)


@pytest.mark.parametrize("address", ["../wheels", "file:///wheels", "", "https://[::1/"])
def test_what_is_no_address_is_the_same_as_nothing(address: str) -> None:
    assert not same_mirror(address, address)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://[0:0:0:0:0:0:0:1]:8080/simple", "http://[::1]:8080/simple/"),
        ("https://b\u00fccher.example.com/simple", "https://xn--bcher-kva.example.com/simple/"),
        ("https://mirror.example.com/a%2fb/simple", "https://mirror.example.com/a%2Fb/simple/"),
        ("https://mirror.example.com/caf\u00e9/simple", "https://mirror.example.com/caf%C3%A9/simple/"),
        ("https://mirror.example.com", "https://mirror.example.com/"),
    ],
)
def test_hosts_and_escapes_have_spellings_too(one: str, other: str) -> None:
    assert same_mirror(one, other)


@pytest.mark.parametrize(
    "other",
    [
        "http://mirror.example.com/a/simple",
        "https://mirror.example.com./a/simple",
        "https://mirror.example.com/a/simple/index.html",
        "https://mirror.example.com//a/simple",
        "https://mirror.example.com/%61/simple",
    ],
)
def test_what_leads_to_the_same_mirror_may_be_another_index_for_uv(other: str) -> None:
    mirror = "https://mirror.example.com/a/simple/"
    assert same_mirror(mirror, other)
    assert not same_for_uv(mirror, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://127.1:8080/simple", "http://127.0.0.1:8080/simple/"),
        ("https://stra\u00dfe.example/simple", "https://xn--strae-oqa.example/simple"),
        ("https:\\\\m.example.com\\simple", "https://m.example.com/simple"),
        ("https://m%2eexample.com/simple", "https://m.example.com/simple"),
        ("https:///m.example.com/simple", "https://m.example.com/simple"),
        ("https://me:secret@m.example.com:443/x/../simple/?#x", "https://m.example.com/simple"),
        ("https://m.example.com/simple?a='b", "https://m.example.com/simple/?a=%27b"),
    ],
)
def test_what_is_one_index_for_uv_is_one_mirror_as_well(one: str, other: str) -> None:
    assert same_for_uv(one, other)
    assert same_mirror(one, other)


@pytest.mark.parametrize("same", [same_for_uv, same_mirror])
def test_another_query_makes_another_index(same: Callable[[str, str], bool]) -> None:
    assert not same("https://m/simple?a", "https://m/simple")
    assert not same("https://m/simple?a?", "https://m/simple?a")


@given(st.text(), st.text())
def test_no_text_is_too_strange(one: str, other: str) -> None:
    for text in (one, f"https://{one}", f"https://mirror.example.com/{one}", f"https://{one}:{other}@host/{one}?{other}"):
        assert same_mirror(text, text) == (comparable_url(text) is not None)
        assert shown_url(text).isprintable()
        assert not same_for_uv(text, other) or same_mirror(text, other) or comparable_url(text) is None


def test_what_is_told_of_an_address_holds_no_secret() -> None:
    shown = shown_url("HTTPS://reader:s3cret@Mirror.example.com:443/pypi/simple?token=s3cret#s3cret")
    assert shown == "https://mirror.example.com/pypi/simple"


@pytest.mark.parametrize(
    "address",
    [
        "https:\\\\me:s3cret@m/simple",
        "https:/me:s3cret@m/simple",
        "https://me:s3cret@m:port/simple",
        "https://me:s3cret@[::1/simple",
        " HTTP:me:s3cret@/",
        "ssh://me:s3cret@m/simple?s3cret",
        "folder\n?s3cret#s3cret",
    ],
)
def test_no_spelling_of_an_address_tells_its_secret(address: str) -> None:
    assert "s3cret" not in shown_url(address)
    assert shown_url(address).isprintable()


@pytest.mark.parametrize("path", ["../wheels", "file:///wheels", "C:\\wheels"])
def test_a_folder_is_told_as_it_is(path: str) -> None:
    assert shown_url(path) == path


@pytest.mark.parametrize(
    ("index", "file", "proxied"),
    [
        ("http://127.0.0.1:8080/simple/", "http://127.0.0.1:8080/files/demo/demo-1.0.tar.gz", True),
        ("http://proxy.example.com:80/simple", "http://proxy.example.com/files/demo/demo-1.0.tar.gz", True),
        ("http://127.0.0.1:8080/second/simple/", "http://127.0.0.1:8080/second/files/demo/0a1b/demo-1.0.tar.gz", True),
        ("http://127.0.0.1:8080/second/simple/", "http://127.0.0.1:8080/files/demo/demo-1.0.tar.gz", False),
        ("http://127.0.0.1:8080/simple/", "http://127.0.0.1:8080/files/other/demo-1.0.tar.gz", False),
        ("http://127.0.0.1:8080/simple/", "http://127.0.0.1:8080/packages/demo/demo-1.0.tar.gz", False),
        ("http://127.0.0.1:8080/simple/", "http://127.0.0.1:8080/files/demo/a/b/demo-1.0.tar.gz", False),
        ("http://127.0.0.1:8080/simple/", "http://127.0.0.1:9090/files/demo/demo-1.0.tar.gz", False),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/files/demo/demo-1.0.tar.gz", False),
    ],
)
def test_a_proxy_is_known_by_the_addresses_of_its_files(index: str, file: str, proxied: bool) -> None:
    one, other = comparable_url(index), comparable_url(file)
    assert one is not None
    assert other is not None
    assert is_proxied_file(one, "demo", other) is proxied


@pytest.mark.parametrize(("index", "name"), [("http://p/simple", ""), ("http://p/second/simple/", "second"), ("http://p/pypi/", None)])
def test_the_address_at_a_proxy_names_the_mirror(index: str, name: str | None) -> None:
    comparable = comparable_url(index)
    assert comparable is not None
    assert mirror_name_at_proxy(comparable) == name
