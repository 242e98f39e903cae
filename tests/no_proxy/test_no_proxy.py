"""docs/no-proxy.md is what real curl and uv do, and mirrormend goes directly wherever one of them does."""

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.no_proxy import Exemptions
from proxy.upstream.route import Route
from tests.no_proxy.forms import FIRST, FORMS, NOT_UNDERSTOOD, SECOND, VARIABLES, Form, Variables, document, versions

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "no-proxy.md"


Row = tuple[str, str, str, str, str]
"""A row of the table of entries: value, host, and how curl, uv and mirrormend reach it."""


def rows(text: str) -> list[Row]:
    found = re.findall(r"^\| `(.*)` \| `(.*):8080` \| (\w+) \| (\w+) \| (\w+) \|.*\|$", text, re.MULTILINE)
    return [(value.replace("\\|", "|"), host, *ways) for value, host, *ways in found]


def documented() -> list[Row]:
    return rows(DOCUMENT.read_text(encoding="utf-8"))


def through_the_proxy_but_not_at_both(tried: list[Row]) -> list[Row]:
    return [row for row in tried if "direct" in row[2:4] and row[4] != "direct"]


@pytest.mark.timeout(600)
async def test_the_document_is_what_the_installed_curl_and_uv_do(tmp_path: Path) -> None:
    written, kept = await document(tmp_path), DOCUMENT.read_text(encoding="utf-8")
    if versions(written) == versions(kept):
        pairs = zip(written.splitlines(), kept.splitlines(), strict=False)
        differing = [f"now:  {now}\nkept: {then}" for now, then in pairs if now != then]
        assert written == kept, "\n".join(["run: python -m tests.no_proxy > docs/no-proxy.md", *differing])
    else:
        # Other releases may do otherwise with odd forms. That is no fault of mirrormend's as long as its promise holds for them.
        assert [row[:2] for row in rows(written)] == [row[:2] for row in rows(kept)]
        assert through_the_proxy_but_not_at_both(rows(written)) == []


def test_the_document_has_every_form() -> None:
    assert [(value, host.strip("[]")) for value, host, *_ in documented()] == [(form.value, form.host) for form in FORMS]


def test_the_way_is_direct_wherever_it_is_for_curl_or_uv() -> None:
    assert through_the_proxy_but_not_at_both(documented()) == []


def test_every_difference_from_both_has_its_reason() -> None:
    unlike = {(value, host.strip("[]")) for value, host, curl, uv, mirrormend in documented() if mirrormend not in {curl, uv}}
    assert {(form.value, form.host) for form in FORMS if form.why not in {"", NOT_UNDERSTOOD}} >= unlike


@pytest.mark.parametrize("row", documented(), ids=" for ".join)
def test_the_route_is_the_documented_one(monkeypatch: pytest.MonkeyPatch, row: Row) -> None:
    value, host, _, _, mirrormend = row
    monkeypatch.setenv("http_proxy", "http://outbound.example:3128")
    monkeypatch.setenv("no_proxy", value)
    route = Route()
    assert ("direct" if route.proxy_for(f"http://{host}:8080/simple/") is None else "proxy") == mirrormend
    assert route.proxies() == {("outbound.example", 3128)}


@pytest.mark.parametrize("variables", VARIABLES, ids=lambda variables: ", ".join(variables.values))
def test_the_environment_is_read_as_documented(monkeypatch: pytest.MonkeyPatch, variables: Variables) -> None:
    addresses = {FIRST: "http://first.example:1", SECOND: "http://second.example:2"}
    for name, value in variables.values.items():
        monkeypatch.setenv(name, addresses.get(value, value))
    shown = ", ".join(f"`{name}={value}`" for name, value in variables.values.items())
    cells = next(line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {shown} |")).split(" | ")
    proxy = Route().proxy_for("http://127.0.0.1:8080/")
    assert cells[3] == ("direct" if proxy is None else next(name for name, address in addresses.items() if address == proxy.address))


@pytest.mark.parametrize("system", ["Darwin", "Windows"])
def test_what_the_system_has_in_its_settings_counts_where_the_environment_names_none(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("proxy.upstream.route.getproxies", lambda: {"https": "http://of-the-system.example:1", "no": "::", "foo": "a:b:c"})
    monkeypatch.setattr("proxy.upstream.route.proxy_bypass", lambda host: host == "exempt.example:443")
    route = Route()
    found = route.proxy_for("https://mirror.example/")
    assert found is not None
    assert found.address == "http://of-the-system.example:1"
    assert route.proxy_for("https://exempt.example/") is None
    assert route.proxies() == {("of-the-system.example", 1)}
    monkeypatch.setenv("https_proxy", "http://of-the-environment.example:2")
    assert Route().proxies() == {("of-the-environment.example", 2)}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.value} for {form.host}")
def test_what_is_not_understood_is_named_whole(form: Form) -> None:
    assert Exemptions.read(form.value).not_understood == ((form.value,) if form.why == NOT_UNDERSTOOD else ())


def test_an_entry_that_is_not_understood_keeps_none_of_the_others_from_its_meaning() -> None:
    exemptions = Exemptions.read("10.*,corp.example,<local>,fd00::/8,10.*")
    assert exemptions.not_understood == ("10.*", "<local>")
    assert exemptions.exempt("a.corp.example", 443)
    assert exemptions.exempt("fd00::7", 443)
    assert not exemptions.exempt("10.1.2.3", 443)


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("10.0.0.0/8", "10.200.0.1"),
        ("10.0.0.0/8", "10.200.0.1."),
        ("10.0.0.0/8", "0xa.1"),
        ("fd00::/8", "fd12:3456::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fd00::1]:443", "fd00:0::1"),
        ("::ffff:10.0.0.0/104", "10.1.2.3"),
        ("10.0.0.0/8:443", "10.1.2.3"),
        ("*:443", "anything.example"),
        ("foo\tbar\ncorp", "mirror.corp"),
    ],
)
def test_more_spellings_of_the_same(value: str, host: str) -> None:
    assert Exemptions.read(value).exempt(host, 443)
    assert Exemptions.read(value).not_understood == ()


@pytest.mark.parametrize(
    "value", ["a:0", "a:65536", "a:99999999999999999999", "[a]", "[::1", "::1]:80", "10.0.0.0/8:x", "a..b", "-:", ":80", "[::1]/129"]
)
def test_no_spelling_is_taken_for_something_else(value: str) -> None:
    exemptions = Exemptions.read(value)
    assert exemptions.not_understood == (value,)
    assert not any(exemptions.exempt(host, 80) for host in ("a", "b", "::1", "10.0.0.1", "localhost"))


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_stands_there_is_read(value: str, host: str) -> None:
    exemptions = Exemptions.read(value)
    exemptions.exempt(host, 443)
    assert all(entry and entry in value for entry in exemptions.not_understood)


@given(st.ip_addresses(), st.integers(0, 32))
def test_an_address_is_exempt_by_itself_and_by_its_networks(address: IPv4Address | IPv6Address, bits: int) -> None:
    for value in (f"{address}", f"{address}/{bits}", f"{address}/{address.max_prefixlen}", f"foo, {address.exploded}"):
        assert Exemptions.read(value).exempt(str(address), 443)
