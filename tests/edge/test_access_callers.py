"""Which client a request comes from: what a header says counts as far as trusted proxies wrote it, and no further."""

import base64

import pytest

from proxy.server.access.callers import Callers, one_client
from proxy.server.access.presented import Presented, presented

OUR_PROXIES = ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("peer", "x_forwarded_for", "expected"),
    [
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["1.1.1.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_a_header_is_believed_back_to_the_first_entry_that_no_trusted_proxy_wrote(
    peer: str, x_forwarded_for: list[str], expected: str
) -> None:
    assert Callers(OUR_PROXIES).caller(peer, x_forwarded_for) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", ["for=198.51.100.7"], "203.0.113.9"),
        ("fd00::1", ['For="[2001:db8::7]:4711";proto=https'], "2001:db8::7"),
        ("10.0.0.1", ["for=1.1.1.1, proto=https;for=198.51.100.7;by=10.0.0.1"], "198.51.100.7"),
        ("10.0.0.1", ["for=_hidden"], "10.0.0.1"),
        ("10.0.0.1", ["proto=https"], "10.0.0.1"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(peer: str, forwarded: list[str], expected: str) -> None:
    assert Callers(OUR_PROXIES, "Forwarded").caller(peer, forwarded) == expected


def test_without_trusted_proxies_no_header_is_believed() -> None:
    callers = Callers([])
    assert not callers.believes_headers
    assert callers.caller("127.0.0.1", ["198.51.100.7"]) == "127.0.0.1"


def test_a_customer_with_a_network_of_addresses_is_one_client() -> None:
    assert one_client("2001:db8:1:2:3:4:5:6") == one_client("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert one_client("2001:db8:1:3::9") != one_client("2001:db8:1:2::9")
    assert one_client("::ffff:192.0.2.1") == "::ffff:192.0.2.1"
    assert one_client("192.0.2.1") == "192.0.2.1"
    assert one_client("") == ""


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (basic(b"ada:secret"), Presented(("secret", "ada"), "ada", "secret")),
        (basic(b"ada:se:cret"), Presented(("se:cret", "ada"), "ada", "se:cret")),
        (basic(b"token:"), Presented(("token",), "token", "")),
        (basic(b":token"), Presented(("token",), "", "token")),
        (basic("ada:gëheim".encode()), Presented(("gëheim", "ada"), "ada", "gëheim")),
        (basic("ada:gëheim".encode("latin-1")), Presented(("gëheim", "ada"), "ada", "gëheim")),
        ("bEARER  some-token ", Presented(("some-token",))),
        ("Bearer", None),
        (basic(b"no colon"), None),
        ("Basic !!!", None),
        ("Digest username=ada", None),
        ("", None),
    ],
)
def test_what_is_shown_is_read_as_clients_send_it(header: str, expected: Presented | None) -> None:
    assert presented(header) == expected


def test_what_is_shown_can_be_printed_without_telling_it() -> None:
    assert "secret" not in repr(presented(basic(b"ada:secret")))
