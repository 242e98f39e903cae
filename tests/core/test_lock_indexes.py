"""Which indexes uv would use, and how it is led through the proxy; that real uv does so is seen in tests/e2e."""

from typing import Any

import pytest

from proxy.locking.addresses import Door, with_credentials
from proxy.locking.credentials import credentials_of
from proxy.locking.indexes import (
    Detour,
    LimitLost,
    OtherIndex,
    Role,
    UvIndex,
    configured,
    detour,
    hints,
    index_named,
    spelled,
)

MIRROR, PROXY, OTHER = "https://mirror.example.com/simple/", "http://127.0.0.1:20000/simple/", "https://other.example.com/simple"
DOOR = Door(MIRROR, PROXY)


def indexes(table: dict[str, Any], *, more: dict[str, Any] | None = None, **variables: str) -> list[UvIndex]:
    return configured([("pyproject.toml", table), ("uv.toml", more or {})], variables)


def index(url: str, name: str | None = None, **more: bool) -> dict[str, Any]:
    return {"url": url, **({} if name is None else {"name": name}), **more}


def led(table: dict[str, Any], **variables: str) -> dict[str, str]:
    return dict(detour(indexes(table, **variables), [DOOR]).environment)


def test_without_any_setting_the_proxy_is_the_default_index() -> None:
    assert led({}) == {"UV_DEFAULT_INDEX": PROXY}
    assert not detour(indexes({}), [DOOR]).named


@pytest.mark.parametrize(
    ("table", "environment"),
    [
        ({"index": [index(MIRROR, "corp", default=True)]}, {"UV_DEFAULT_INDEX": f"corp={PROXY}"}),
        ({"index": [index("https://a:b@mirror.example.com/simple", default=True)]}, {"UV_DEFAULT_INDEX": PROXY}),
        ({"index-url": MIRROR}, {"UV_DEFAULT_INDEX": PROXY}),
        ({"index": [index(MIRROR, "corp")]}, {"UV_INDEX": f"corp={PROXY}"}),
        ({"extra-index-url": [MIRROR]}, {"UV_INDEX": PROXY}),
        ({"index": [index(OTHER, "o"), index(MIRROR, "corp"), index(OTHER, default=True)]}, {"UV_INDEX": f"o={OTHER} corp={PROXY}"}),
        ({"index": [index(OTHER, "o"), index(MIRROR, default=True)]}, {"UV_DEFAULT_INDEX": PROXY}),
        (
            {"index": [index(MIRROR, "corp", explicit=True), index(OTHER, "o"), index(MIRROR, "main", default=True)]},
            {"UV_DEFAULT_INDEX": f"main={PROXY}", "UV_INDEX": f"o={OTHER} corp={PROXY}"},
        ),
    ],
)
def test_the_proxy_takes_the_place_and_the_name_of_the_mirror(table: dict[str, Any], environment: dict[str, str]) -> None:
    assert led(table) == environment
    assert detour(indexes(table), [DOOR]).named


def test_the_environment_is_led_as_well_and_what_it_names_otherwise_stays() -> None:
    assert led({}, UV_DEFAULT_INDEX=f"corp={MIRROR}") == {"UV_DEFAULT_INDEX": f"corp={PROXY}"}
    assert led({}, UV_INDEX_URL=MIRROR) == {"UV_DEFAULT_INDEX": PROXY}
    assert led({}, UV_INDEX=f"a={OTHER} corp={MIRROR}") == {"UV_INDEX": f"a={OTHER} corp={PROXY}"}
    assert led({"index": [index(MIRROR, default=True)]}, UV_INDEX=OTHER) == {"UV_DEFAULT_INDEX": PROXY}
    route = detour(indexes({}, UV_EXTRA_INDEX_URL=MIRROR, UV_INDEX=OTHER), [DOOR])
    assert (route.environment, route.without) == ({"UV_INDEX": f"{OTHER} {PROXY}"}, {"UV_EXTRA_INDEX_URL"})


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_a_default_index_that_only_the_environment_names_gives_way(variable: str) -> None:
    assert led({}, **{variable: OTHER}) == {"UV_DEFAULT_INDEX": PROXY}
    assert led({"index": [index(MIRROR, "corp", default=True)]}, **{variable: OTHER}) == {"UV_DEFAULT_INDEX": f"corp={PROXY}"}


@pytest.mark.parametrize(
    "table",
    [
        {"index": [index(OTHER, default=True)]},
        {"index-url": OTHER},
        {"index": [index(OTHER, default=True), index(MIRROR, default=True)]},
        {"index": [index(MIRROR, explicit=True)]},
        {"index": [index(PROXY, default=True)]},
    ],
)
def test_a_project_whose_index_is_not_the_mirror_is_told_so(table: dict[str, Any]) -> None:
    with pytest.raises(OtherIndex) as raised:
        led(table)
    assert "pyproject.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [f"{OTHER}?token=s3cret", "https://me:s3cret@mirror.example.com:port/simple", "https://me:s3cret@[::1/simple", "HTTP://s3cret@m:p/"],
)
@pytest.mark.parametrize("role", ["default", "explicit"])
def test_no_message_tells_a_secret_of_an_index_or_fails_for_one_that_cannot_be_read(address: str, role: str) -> None:
    found = indexes({"index": [index(address, **{role: True})]})
    told = [str(OtherIndex(found[0], f"{MIRROR}?token=s3cret")), *hints(found, Detour({}, frozenset(), named=False, left=tuple(found)))]
    assert "s3cret" not in " ".join(told)


def test_an_explicit_index_that_stands_alone_is_left_to_uv() -> None:
    table = {"index": [index(MIRROR, "corp"), index(MIRROR, "bound", explicit=True)]}
    route = detour(indexes(table), [DOOR])
    assert route.environment == {"UV_INDEX": f"corp={PROXY}"}
    assert [each.name for each in route.left] == ["bound"]


def test_each_mirror_has_its_own_proxy() -> None:
    team = Door(OTHER, "http://127.0.0.1:20000/team/simple/")
    route = detour(indexes({"index": [index(OTHER, "team"), index(MIRROR, default=True)]}), [DOOR, team])
    assert route.environment == {"UV_DEFAULT_INDEX": PROXY, "UV_INDEX": f"team={team.proxy}"}


def test_the_proxy_is_given_the_credentials_it_wants() -> None:
    door = Door(MIRROR, PROXY, ("me@x", "a/b"))
    assert detour(indexes({}), [door]).environment == {"UV_DEFAULT_INDEX": "http://me%40x:a%2Fb@127.0.0.1:20000/simple/"}
    assert "a/b" not in repr(door)
    assert with_credentials("http://a:b@host/", ("c", "d")) == "http://a:b@host/"


def test_the_first_index_of_a_name_counts_and_folders_do_not() -> None:
    table = {"index": [index(MIRROR, "corp", default=True), {"url": "wheels", "format": "flat"}, {"name": 1}, 5]}
    assert [each.url for each in indexes(table, more={"index": [index(OTHER, "corp")]})] == [MIRROR]
    assert indexes({"index": 1, "extra-index-url": 2, "index-url": 3}) == []


def test_the_mirror_is_spelled_as_a_file_has_it_then_the_environment_then_the_lock() -> None:
    bare = MIRROR.rstrip("/")
    named = indexes({"index": [index("https://a:b@MIRROR.example.com/simple", default=True)]}, UV_DEFAULT_INDEX=MIRROR)
    assert spelled(named, [DOOR])[0].mirror == bare
    assert spelled(indexes({}, UV_DEFAULT_INDEX=bare), [DOOR], [MIRROR])[0].mirror == bare
    assert spelled([], [DOOR], [bare])[0].mirror == bare
    assert spelled([], [DOOR], [OTHER])[0].mirror == MIRROR


def test_where_nobody_says_which_mirror_it_is_the_default_index_of_a_file_first() -> None:
    def url(found: list[UvIndex]) -> str | None:
        named = index_named(found)
        return None if named is None else named.url

    assert url(indexes({"index": [index(OTHER), index(MIRROR, default=True)]}, UV_DEFAULT_INDEX=PROXY)) == MIRROR
    assert url(indexes({"index": [index(OTHER)]}, UV_DEFAULT_INDEX=PROXY)) == PROXY
    assert url(indexes({"index": [index(OTHER)]})) == OTHER
    assert url(indexes({"index": [index(OTHER, explicit=True), index("wheels")]})) is None


def test_uvs_own_credentials_are_found() -> None:
    named = UvIndex(MIRROR, indexes({"index": [index(MIRROR)]})[0].role, "", "my-corp")
    variables = {"UV_INDEX_MY_CORP_USERNAME": "me", "UV_INDEX_MY_CORP_PASSWORD": "pw"}
    assert credentials_of(named, variables) == ("me", "pw")
    assert credentials_of(named, {"UV_INDEX_MY_CORP_PASSWORD": "pw"}) == ("", "pw")
    assert credentials_of(named, {}) is None
    in_address, nameless = indexes({"index": [index("https://a%40b:c@mirror.example.com/simple"), index(MIRROR)]})
    assert credentials_of(in_address, variables) == ("a@b", "c")
    assert credentials_of(nameless, variables) is None


def in_member(url: str = MIRROR, name: str = "corp", bound: object = None, **more: bool) -> tuple[str, dict[str, Any]]:
    sources = {"vane": {"index": name}} if bound is None else bound
    return "packages/one/pyproject.toml", {"index": [index(url, name, **more)], "sources": sources}


@pytest.mark.parametrize("more", [{"explicit": True}, {}, {"default": True}])
@pytest.mark.parametrize("bound", [{"vane": {"index": "corp"}}, {"vane": [{"git": "…"}, {"index": "corp", "marker": "…"}]}])
def test_an_index_to_which_a_members_sources_bind_something_is_an_explicit_one(more: dict[str, bool], bound: object) -> None:
    table = {"index": [index(MIRROR, "main", default=True)]}
    found = configured([("pyproject.toml", table)], {}, [in_member(bound=bound, **more)])
    assert [(each.name, each.role) for each in found] == [("main", Role.DEFAULT), ("corp", Role.EXPLICIT)]
    assert detour(found, [DOOR]).environment == {"UV_DEFAULT_INDEX": f"main={PROXY}", "UV_INDEX": f"corp={PROXY}"}


@pytest.mark.parametrize("bound", [{}, 1, {"vane": 1, "storm": {"index": "other"}, "x": [1, {"index": 2}]}])
def test_an_index_in_a_member_to_which_nothing_is_bound_is_none(bound: object) -> None:
    assert configured([], {}, [in_member(bound=bound)]) == []


def test_an_index_that_is_a_setting_already_is_not_found_twice() -> None:
    table = {"index": [index(MIRROR, "corp", default=True)], "sources": {"vane": {"index": "corp"}}}
    found = configured([("pyproject.toml", table)], {}, [("pyproject.toml", table)])
    assert [each.role for each in found] == [Role.DEFAULT]


def test_an_index_of_a_member_gives_way_to_one_of_the_environment_with_its_name() -> None:
    assert [each.url for each in configured([], {"UV_INDEX": f"corp={OTHER}"}, [in_member()])] == [OTHER]


def test_an_explicit_index_stays_where_a_variable_with_its_name_would_stand_for_another_one_too() -> None:
    table = {"index": [index(MIRROR, "main", default=True)]}
    found = configured([("pyproject.toml", table)], {}, [in_member(), in_member(OTHER)])
    route = detour(found, [DOOR])
    assert route.environment == {"UV_DEFAULT_INDEX": f"main={PROXY}"}
    assert [each.url for each in route.left] == [MIRROR]
    assert list(hints(found, route)) == [
        "note: corp in packages/one/pyproject.toml is an explicit index: uv asks it itself, not the proxy, and meets what is broken there"
    ]


def test_an_explicit_index_of_a_member_alone_does_not_refuse_the_mirror() -> None:
    found = configured([], {}, [in_member()])
    assert detour(found, [DOOR]).environment == {"UV_DEFAULT_INDEX": PROXY, "UV_INDEX": f"corp={PROXY}"}


LIMIT, IGNORED = {"exclude-newer": "2025-01-01T00:00:00Z"}, {"ignore-error-codes": [403]}


@pytest.mark.parametrize(
    "table",
    [
        [index(MIRROR, "corp", default=True) | LIMIT],
        [index(MIRROR, "corp") | {"exclude-newer": False}],
        [index(OTHER, "corp") | LIMIT, index(MIRROR)],
    ],
)
def test_no_index_loses_its_limit_of_time_in_silence(table: list[dict[str, Any]]) -> None:
    with pytest.raises(LimitLost, match=r"pyproject\.toml has exclude-newer for the index corp alone"):
        led({"index": table})


@pytest.mark.parametrize(
    "table",
    [
        [index(MIRROR), index(OTHER) | LIMIT],
        [index(OTHER) | LIMIT, index(MIRROR, default=True)],
        [index(MIRROR, default=True), index(MIRROR, "bound", explicit=True) | LIMIT],
    ],
)
def test_an_index_that_stays_in_its_file_keeps_its_limit(table: list[dict[str, Any]]) -> None:
    assert set(led({"index": table}).values()) == {PROXY}


@pytest.mark.parametrize("default", [True, False])
def test_it_is_told_which_index_has_no_errors_to_ignore_for_this_run(default: bool) -> None:
    found = indexes({"index": [index(OTHER, "first") | IGNORED, index(MIRROR, "corp", default=default), index(OTHER, "last") | IGNORED]})
    route = detour(found, [DOOR])
    note = "note: ignore-error-codes of first in pyproject.toml does not hold for this run, as uv takes it from a file only"
    assert list(hints(found, route)) == ([] if default else [note])
    assert "last" not in "".join(route.environment.values())


def test_what_the_environment_names_behind_the_mirror_stays_there() -> None:
    assert led({}, UV_INDEX=f"corp={MIRROR} a={OTHER}") == {"UV_INDEX": f"corp={PROXY} a={OTHER}"}
