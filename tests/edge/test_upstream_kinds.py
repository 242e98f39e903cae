"""What a mirror is taken for, by its address and by its answers, and how much it is asked meanwhile."""

from itertools import product

import pytest

from proxy.config import MirrorKind
from proxy.core.verdict.budget import BUDGETS, COSTLY
from proxy.upstream.kinds import Recognition, kind_by_headers

ADDRESSES = {
    MirrorKind.ARTIFACTORY: "https://packages.example.com/artifactory/api/pypi/pypi/simple/",
    MirrorKind.NEXUS: "https://packages.example.com/repository/pypi/simple/",
    MirrorKind.DEVPI: "https://packages.example.com/root/pypi/+simple/",
    MirrorKind.CODEARTIFACT: "https://acme-1.d.codeartifact.eu-west-1.amazonaws.com/pypi/main/simple/",
    MirrorKind.AUTO: "https://packages.example.com/simple/",
}
HEADERS = {
    MirrorKind.ARTIFACTORY: {"server": "Artifactory/7.98.9"},
    MirrorKind.NEXUS: {"server": "Nexus/3.70.1 (OSS)"},
    MirrorKind.DEVPI: {"server": "nginx", "x-devpi-serial": "7"},
    MirrorKind.AUTO: {"server": "nginx/1.27"},
}
PAIRS = list(product(ADDRESSES, HEADERS))


def guessed(address: MirrorKind) -> Recognition:
    return Recognition(MirrorKind.AUTO, ADDRESSES[address])


@pytest.mark.parametrize(("address", "header"), PAIRS)
def test_what_a_product_says_of_itself_beats_the_address_and_a_silent_one_is_what_its_address_says(
    address: MirrorKind, header: MirrorKind
) -> None:
    known = guessed(address)
    assert known.hear(HEADERS[header])
    expected = address if header is MirrorKind.AUTO else header
    assert (known.kind, known.budget, known.is_sure) == (expected, BUDGETS[expected], True)
    assert not known.hear(HEADERS[header]), "nothing new"


@pytest.mark.parametrize("address", ADDRESSES)
def test_before_the_first_answer_a_probe_is_taken_to_cost_as_much_as_anywhere(address: MirrorKind) -> None:
    known = guessed(address)
    assert (known.kind, known.budget, known.is_sure) == (address, COSTLY, False)


@pytest.mark.parametrize(("address", "header"), PAIRS)
def test_headers_that_come_late_still_tell_as_behind_a_reverse_proxy_that_hides_them_on_pages(
    address: MirrorKind, header: MirrorKind
) -> None:
    known = guessed(address)
    known.hear({"server": "nginx"})
    assert known.kind is address
    known.hear(HEADERS[header])
    assert known.kind is (address if header is MirrorKind.AUTO else header)
    known.hear({"server": "nginx"})
    assert known.kind is (address if header is MirrorKind.AUTO else header), "what was heard stays known"


@pytest.mark.parametrize(("one", "other"), list(product(HEADERS, HEADERS)))
def test_where_two_products_speak_from_one_address_the_costlier_one_holds_whoever_spoke_first(one: MirrorKind, other: MirrorKind) -> None:
    apart, together = guessed(MirrorKind.ARTIFACTORY), guessed(MirrorKind.ARTIFACTORY)
    for each in (one, other):
        apart.hear(HEADERS[each])
    together.hear(HEADERS[other] | HEADERS[one])
    assert apart.budget.costly is (BUDGETS[one].costly or BUDGETS[other].costly)
    assert apart.budget.costly or not together.budget.costly


@pytest.mark.parametrize("server", ["Artifactory/7", "Nexus/3"])
def test_an_answer_that_names_two_products_is_of_the_costlier_one(server: str) -> None:
    assert kind_by_headers({"server": server, "x-artifactory-id": "a", "x-nexus-ui": "b"}) is MirrorKind.NEXUS


@pytest.mark.parametrize(("configured", "header"), list(product([kind for kind in MirrorKind if kind is not MirrorKind.AUTO], HEADERS)))
def test_whatever_is_configured_stands_from_the_beginning(configured: MirrorKind, header: MirrorKind) -> None:
    known = Recognition(configured, ADDRESSES[MirrorKind.NEXUS])
    assert not known.hear(HEADERS[header])
    assert (known.kind, known.budget, known.is_sure) == (configured, BUDGETS[configured], True)


def test_settings_that_are_read_again_forget_nothing_that_was_heard() -> None:
    earlier, later = guessed(MirrorKind.ARTIFACTORY), guessed(MirrorKind.ARTIFACTORY)
    earlier.hear(HEADERS[MirrorKind.NEXUS])
    later.take_over(earlier)
    assert (later.kind, later.is_sure) == (MirrorKind.NEXUS, True)
    configured = Recognition(MirrorKind.OTHER, ADDRESSES[MirrorKind.ARTIFACTORY])
    configured.take_over(earlier)
    assert configured.kind is MirrorKind.OTHER


def test_a_mirror_that_did_not_tell_its_product_is_known_after_settings_were_read_again() -> None:
    earlier, later = guessed(MirrorKind.AUTO), guessed(MirrorKind.AUTO)
    earlier.hear({"server": "nginx"})
    later.take_over(earlier)
    assert (later.is_sure, later.budget) == (True, earlier.budget)


def test_a_kind_that_is_configured_no_more_was_never_heard() -> None:
    later = guessed(MirrorKind.AUTO)
    later.take_over(Recognition(MirrorKind.STATIC, ADDRESSES[MirrorKind.ARTIFACTORY]))
    assert (later.is_sure, later.budget) == (False, COSTLY)
