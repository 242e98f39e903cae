"""Addresses in locks: which are the same, which are a proxy's, and which stand for which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.index_urls import same_for_uv
from proxy.core.lockfile import LockedFile, LockedPackage, read_lock, readdressed
from proxy.locking.addresses import (
    Door,
    as_locked,
    back,
    file_at,
    file_of_mirror,
    made_through_a_proxy,
    marks_of,
    normalised,
    proxied_files,
    through,
)

MIRROR, PROXY = "https://mirror.example.com/api/pypi/simple", "http://127.0.0.1:8080/simple/"
DOOR = Door(MIRROR, PROXY)


def package(registry: str, *urls: str, name: str = "demo") -> str:
    wheels = "".join(f'    {{ url = "{url}", hash = "sha256:00" }},\n' for url in urls)
    return f'[[package]]\nname = "{name}"\nversion = "1.0"\nsource = {{ registry = "{registry}" }}\nwheels = [\n{wheels}]\n'


@pytest.mark.parametrize(
    ("url", "locked"),
    [
        ("https://me:geheim@Mirror.Example.com:443/a/simple/", "https://mirror.example.com/a/simple/"),
        ("HTTP://mirror:80", "http://mirror/"),
        ("http://mirror:8081/simple", "http://mirror:8081/simple"),
        ("http://[::1]:8080/Simple/", "http://[::1]:8080/Simple/"),
        ("https://token@mirror.example.com/simple/#x", "https://mirror.example.com/simple/#x"),
    ],
)
def test_an_index_is_spelled_as_uv_writes_it(url: str, locked: str) -> None:
    assert as_locked(url) == locked


def test_credentials_and_the_slash_at_the_end_do_not_tell_indexes_apart_but_all_else_does() -> None:
    assert same_for_uv("https://a:b@mirror.example.com/simple", "https://MIRROR.example.com:443/simple/")
    for other in (
        "http://mirror.example.com/simple",
        "https://mirror.example.com/Simple",
        "https://mirror.example.com:8443/simple",
        "folder",
    ):
        assert not same_for_uv("https://mirror.example.com/simple", other)
    assert not same_for_uv("https://[", "https://[")


@pytest.mark.parametrize(
    ("url", "locked"),
    [
        ("https://me:geheim@CDN.example.com/a%2Fb/x-1+y.whl?token=geheim#sha256=0", "https://cdn.example.com/a%2Fb/x-1+y.whl"),
        ('http://m:80/a b"c\\d/ä.whl', "http://m/a%20b%22c%5Cd/%C3%A4.whl"),
        ("https://m/~x/(1)!$&'*,;=:@-2.whl", "https://m/~x/(1)!$&'*,;=:@-2.whl"),
    ],
)
def test_a_file_of_the_mirror_is_spelled_as_uv_writes_it_and_without_secrets(url: str, locked: str) -> None:
    assert file_of_mirror(url) == locked


def test_a_lock_made_through_a_proxy_is_known_by_the_addresses_of_its_files() -> None:
    through_one = package("http://old:1/team/simple/", file_at("http://old:1/team/simple/", "demo", "demo-1.0+a-py3-none-any.whl"))
    assert made_through_a_proxy(read_lock(through_one)) == ("http://old:1/team/simple/",)


@pytest.mark.parametrize(
    "text",
    [
        package(MIRROR, "https://mirror.example.com/d/demo-1.0.whl"),
        package("http://old:1/simple/", "http://old:1/files/other/demo-1.0.whl"),
        package("http://old:1/simple/", "http://old:1/files/demo/1.0/demo-1.0.whl"),
        package("http://old:1/simple/", "http://old:1/files/demo/demo-1.0.whl", "https://cdn.example.com/demo-1.0.whl"),
        package("http://old:1/simple/"),
        package("http://old:1/pypi/", "http://old:1/pypi/files/demo/demo-1.0.whl"),
        package("http://old:1/simple/", "http://old:1/files/demo/demo-1.whl")
        + package("http://old:1/simple/", "http://cdn/x.whl", name="x"),
    ],
    ids=["a mirror", "another project", "a version between", "one elsewhere", "no file", "no simple API", "another package elsewhere"],
)
def test_what_only_resembles_a_proxy_is_none(text: str) -> None:
    assert made_through_a_proxy(read_lock(text)) == ()


def test_a_lock_of_the_mirror_is_led_through_the_proxy_and_its_files_only_where_the_whole_of_it_is_to_be() -> None:
    url = "https://cdn.example.com/x/demo-1.0%2Bcu1.whl"
    lock = read_lock(package(f"{MIRROR}/", url) + package("https://other.example.com/simple", "https://other.example.com/o.whl", name="o"))
    assert through(lock, [DOOR], whole=False) == ({f"{MIRROR}/": PROXY}, {})
    assert through(lock, [DOOR], whole=True) == ({f"{MIRROR}/": PROXY}, {url: "http://127.0.0.1:8080/files/demo/demo-1.0+cu1.whl"})


def test_a_lock_of_an_earlier_proxy_is_led_through_the_one_with_that_path() -> None:
    team = Door("https://team.example.com/simple", "http://127.0.0.1:8080/team/simple/")
    lock = read_lock(package("http://old:1/team/simple", "http://old:1/team/files/demo/demo-1.0.whl"))
    registries, files = through(lock, [DOOR, team], whole=False)
    assert registries == {"http://old:1/team/simple": team.proxy}
    assert files == {"http://old:1/team/files/demo/demo-1.0.whl": "http://127.0.0.1:8080/team/files/demo/demo-1.0.whl"}


def test_an_earlier_proxy_that_linked_directly_has_to_be_named() -> None:
    lock = read_lock(package("http://old:1/simple/", "https://cdn.example.com/demo-1.0.whl"))
    assert through(lock, [DOOR], whole=False) == ({}, {})
    assert through(lock, [DOOR], ["http://old:1/simple"], whole=False) == ({"http://old:1/simple/": PROXY}, {})


def test_only_what_the_lock_names_by_the_address_of_the_proxy_is_asked_for() -> None:
    url = "http://127.0.0.1:8080/files/demo/demo-1.0+cu1.whl"
    lock = read_lock(package(PROXY, url, "https://cdn.example.com/demo-1.0.whl") + package("http://old:1/simple/", url, name="o"))
    (file,) = proxied_files(lock, [DOOR])
    assert (file.url, file.door, file.project, file.filename) == (url, DOOR, "demo", "demo-1.0+cu1.whl")
    assert back(lock, [DOOR]) == {PROXY: MIRROR}


@pytest.mark.parametrize("quotation_mark", ['"', "'"])
def test_a_lock_shows_that_it_names_a_proxy_though_the_mirror_is_at_the_same_host(quotation_mark: str) -> None:
    def named(registry: str, url: str) -> bool:
        text = package(registry, url).replace('"', quotation_mark)
        return any(mark in text for mark in marks_of("https://host.example.com/simple/"))

    mirror, file = "https://host.example.com/artifactory/simple", "https://host.example.com/artifactory/demo-1.0.whl"
    assert not named(mirror, file)
    assert not named("https://host.example.com/simple/team/simple/", file)
    assert named("https://host.example.com/simple/", file)
    assert named("https://host.example.com/simple", file)
    assert named(mirror, "https://host.example.com/files/demo/demo-1.0.whl")


def test_the_address_of_a_file_that_has_twins_keeps_its_mark() -> None:
    url = "http://127.0.0.1:8080/files/demo/0123456789ab/demo-1.0+cu1.whl"
    lock = read_lock(package(PROXY, url))
    (file,) = proxied_files(lock, [DOOR])
    assert (file.url, file.filename) == (url, "0123456789ab/demo-1.0+cu1.whl")
    old = read_lock(package("http://old:1/simple/", url.replace("127.0.0.1:8080", "old:1")))
    assert through(old, [DOOR], whole=False)[1] == {url.replace("127.0.0.1:8080", "old:1"): url}


_filenames = st.from_regex(r"[A-Za-z0-9_]{1,8}-[0-9]\.[0-9](\+[a-z0-9.]{1,5})?-py3-none-any\.whl", fullmatch=True)


@given(st.lists(_filenames, unique=True, max_size=5), st.sampled_from([MIRROR, f"{MIRROR}/"]))
def test_a_whole_lock_led_through_the_proxy_and_back_has_the_same_bytes(filenames: list[str], mirror: str) -> None:
    door = Door(mirror, PROXY)
    urls = [f"https://cdn.example.com/{number}/{filename.replace('+', '%2B')}" for number, filename in enumerate(filenames)]
    lock = read_lock(package(mirror, *urls))
    there = read_lock(readdressed(lock, *through(lock, [door], whole=True)))
    assert there.packages == (
        LockedPackage("demo", "1.0", PROXY, tuple(LockedFile(file_at(PROXY, "demo", each), "sha256:00") for each in filenames)),
    )
    listed = dict(zip(filenames, urls, strict=True))
    files = {file.url: listed[file.filename] for file in proxied_files(there, [door])}
    assert readdressed(there, back(there, [door]), files) == lock.text


_hosts = st.sampled_from(
    [
        ("mirror.example.com", ["MIRROR.example.COM", "mirror%2Eexample.com", "mirror\u3002example.com", "\uff4dirror.example.com"]),
        ("xn--mller-kva.example", ["müller.example", "MÜLLER.example", "m%C3%BCller.example"]),
        ("127.0.0.1", ["127.1", "0x7f000001", "0177.0.0.1", "2130706433", "127.0.0.1."]),
        ("[::1]", ["[0:0:0:0:0:0:0:1]", "[::0001]"]),
    ]
)
_ports = st.sampled_from([("", ["", ":", ":443", ":0443"]), (":8443", [":8443", ":08443"])])
_segments = st.sampled_from(
    [("/a", ["/a", "\\a", "/./a", "/x/../a", "/%2e/a", "/x/.%2E/a"]), ("/%70", ["/%70"]), ("/%C3%A9", ["/é", "/%C3%A9"]), ("//b", ["//b"])]
)


@given(st.data())
def test_every_spelling_of_an_index_counts_as_the_one_that_uv_writes(data: st.DataObject) -> None:
    written, given_as = "https://", data.draw(st.sampled_from(["https://", " HTTPS://", "https:/", "https:\\\\", "https:\t//me:p%40@"]))
    for parts in (_hosts, _ports, *[_segments] * data.draw(st.integers(0, 3))):
        right, spellings = data.draw(parts)
        written, given_as = written + right, given_as + data.draw(st.sampled_from([right, *spellings]))
    ending, spelled_ending = data.draw(
        st.sampled_from([("/", "/"), ("/", "/."), ("/?a=%C3%BC", "/?a=ü"), ("/?", "/?"), ("/#%20x", "/#\n x")])
    )
    written, given_as = written + ending, given_as + spelled_ending
    assert as_locked(given_as) == written
    assert as_locked(written) == written
    assert same_for_uv(written, given_as)
    assert normalised(normalised(given_as)) == normalised(given_as)


@given(st.text() | st.text(alphabet="ht:p/\\@%[].?#01xXé \t", max_size=30).map(lambda text: f"http:{text}"))
def test_no_address_is_misread_in_silence(text: str) -> None:
    try:
        spelled = as_locked(text)
    except ValueError:
        assert not same_for_uv(text, text)
    else:
        assert as_locked(spelled) == spelled
        assert same_for_uv(text, spelled)
