"""Addresses by the URL Standard: what is one, and in which spelling."""

import pytest

from proxy.core.url_standard import parse_url


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("http://1.0x010002", "http://1.1.0.2/"),
        ("http://1.2.65535", "http://1.2.255.255/"),
        ("http://255.255.255.255.", "http://255.255.255.255/"),
        ("http://[0:0:0:0:0:FFFF:127.0.0.1]", "http://[::ffff:7f00:1]/"),
        ("http://[1:0:0:2:0:0:0:3]:80", "http://[1:0:0:2::3]/"),
        ("http://XN--MLLER-KVA.example", "http://xn--mller-kva.example/"),
        ("http://stra\u00dfe.example", "http://xn--strae-oqa.example/"),
        ("http://m/%zz'[]|", "http://m/%zz'[]|"),
        ("http://m?a'b#c`d", "http://m/?a%27b#c%60d"),
        ("http:m/a/..", "http://m/"),
        ("http://a:b:c@m", "http://a:b%3Ac@m/"),
        ("http://@m", "http://m/"),
        ("http://:@m", "http://m/"),
    ],
)
def test_an_address_has_one_spelling(given: str, spelled: str) -> None:
    assert str(parse_url(given)) == spelled
    assert str(parse_url(spelled)) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "http://256.1.1.1",
        "http://1.256.1",
        "http://1.2.65536",
        "http://4294967296",
        "http://1.2.3.4.5",
        "http://1.2.3.08",
        "http://xn--a-\u00e4",
        "http://xn--\u2028",
        "http://a\x7fb",
        "http://a%00b",
        "http://a b",
        "http://",
        "http://:80",
        "http://m:65536",
        "http://m:-1",
        "http://m:\u0661",
        "http://[::1",
        "http://[fe80::1%25eth0]",
        "http://[::1%2e]",
        "http://[::1]x",
        "ftp://m",
        "//m",
        "",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whoever calls it words it
        parse_url(text)
