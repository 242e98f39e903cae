"""What a resolver will ask for next."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.version import Version

from proxy.core.requirements import Requirement, bounds, may_hold, required_projects, requirements, satisfies, specifiers_on, without_local


def metadata(*requires: str, description: str = "") -> bytes:
    lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
    return f"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n{lines}\n{description}".encode()


def test_the_projects_required_are_named_once_each_in_their_normalised_spelling() -> None:
    said = metadata("Jinja2>=3", "jinja2[i18n] (<4)", "zope.interface", "urllib3 @ https://mirror.example.com/urllib3.whl")
    assert required_projects(said, (3, 12)) == ("jinja2", "zope-interface", "urllib3")


@pytest.mark.parametrize(
    ("requirement", "asked_for"),
    [
        ("a ; extra == 'test'", False),
        ("a ; sys_platform == 'win32'", True),
        ("a ; python_version < '3.8'", False),
        ("a ; python_version<='3.12'", True),
        ("a ; python_full_version < '3.12.1'", False),
        ("a ; python_version < '3.13'", True),
        ("a ; python_version >= '3.13'", True),
        ("a ; python_version < '3.8' or sys_platform == 'win32'", True),
    ],
)
def test_what_is_for_an_extra_or_an_older_python_is_left_out(requirement: str, asked_for: bool) -> None:
    assert required_projects(metadata(requirement), (3, 12)) == (("a",) if asked_for else ())


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_description_requires_nothing(line_end: str) -> None:
    said = metadata("a", description="Requires-Dist: b\n").replace(b"\n", line_end.encode())
    assert required_projects(said, (3, 12)) == ("a",)


def test_a_long_list_is_cut() -> None:
    assert len(required_projects(metadata(*(f"a{number}" for number in range(500))), (3, 12))) == 60


def test_each_requirement_is_read_with_its_specifier_and_marker() -> None:
    said = metadata("Jinja2>=3,<4", "numpy[all] (!=1.5) ; extra == 'x'", "urllib3 @ https://mirror.example.com/urllib3.whl", "b", "b")
    assert requirements(said) == (
        Requirement("jinja2", ">=3,<4", ""),
        Requirement("numpy", "!=1.5", "extra == 'x'"),
        Requirement("urllib3", "", ""),
        Requirement("b", "", ""),
    )


@pytest.mark.parametrize("line", ["", "-", ">=3", "a" * 300, "\xff", "[x]", "; python_version"])
def test_a_line_that_is_no_requirement_is_passed_over(line: str) -> None:
    assert requirements(metadata(line, "b<4")) == (Requirement("b", "<4", ""),)


@given(st.binary(max_size=300), st.text(max_size=60))
def test_nothing_that_metadata_holds_raises(content: bytes, marker: str) -> None:
    for requirement in requirements(b"Requires-Dist: a;" + marker.encode() + b"\nRequires-Dist: " + content):
        specifiers_on([requirement], (3, 12))
        satisfies(requirement.specifier, "1.0")


@pytest.mark.parametrize(
    ("marker", "python", "holds"),
    [
        ("", (3, 12), True),
        ("extra == 'x'", (3, 12), True),
        ("'x' == extra and python_version >= '3.8'", (3, 12), True),
        ("extra == 'x' and python_version < '3'", (3, 12), False),
        ("sys_platform == 'win32'", (3, 12), True),
        ("platform_machine == 'arm64' and sys_platform == 'darwin'", (3, 12), True),
        ("sys_platform == 'win32' and sys_platform == 'darwin'", (3, 12), False),
        ("python_version < '3.8'", (3, 12), False),
        ("python_version < '3.8'", (3, 7), True),
        ("python_version < '3.8'", None, True),
        ("python_version < '3.11'", (3, 12), True),
        ("python_version >= '3.14'", (3, 12), True),
        ("implementation_name == 'pypy'", (3, 12), True),
        ("platform_release >= '6'", (3, 12), True),
        ("nonsense", (3, 12), True),
    ],
)
def test_a_marker_is_ruled_out_only_where_no_lock_of_the_client_can_want_it(
    marker: str, python: tuple[int, int] | None, holds: bool
) -> None:
    assert may_hold(marker, python) is holds


def test_specifiers_that_cannot_be_read_or_whose_marker_does_not_hold_constrain_nothing() -> None:
    known = [
        Requirement("a", text, marker)
        for text, marker in (("<4", ""), ("<4", "extra == 'x'"), ("<2", "python_version < '3'"), ("?", ""), ("", ""))
    ]
    assert specifiers_on(known, (3, 12)) == ("<4",)


def test_of_specifiers_the_one_that_was_read_last_is_first() -> None:
    known = [Requirement("a", text, marker) for text, marker in (("<4", ""), ("<3", ""), ("<4", "extra == 'x'"), ("<2", ""))]
    assert specifiers_on(known, (3, 12)) == ("<2", "<4", "<3")


def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by each marker that is evaluated."""
    evaluated: list[str] = []

    class Counted(Marker):
        def evaluate(self, *args: Any, **kwargs: Any) -> bool:
            evaluated.append(str(self))
            return super().evaluate(*args, **kwargs)

    monkeypatch.setattr("proxy.core.requirements.Marker", Counted)
    return evaluated


def test_a_marker_that_tells_thousands_of_environments_apart_is_taken_as_true(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = evaluations(monkeypatch)
    extras = " or ".join(f'extra=="{letter}"' for letter in "abcdefghijklmno")
    marker = f'python_full_version<"2.0" and platform_machine!="" and sys_platform!="" and implementation_name!="" and ({extras})'
    assert may_hold(marker, (3, 12))
    assert len(evaluated) <= 200


def test_the_markers_of_one_project_are_bounded_work_and_those_that_were_read_last_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = evaluations(monkeypatch)
    known = [
        Requirement("a", f"<{n}", f'python_version<"2.{n}" and os_name!="" and (' + f'platform_machine=="{n}" or ' * 9 + 'os_name!="")')
        for n in range(1, 41)
    ]
    found = specifiers_on(known, (3, 12))
    assert 10_000 < sum(map(len, evaluated)) < 600_000
    assert "<40" not in found
    assert "<1" in found


RELEASE = st.lists(st.integers(0, 2), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
VERSION = st.tuples(st.sampled_from(["", "1!"]), RELEASE, st.sampled_from(["", "a1", "rc2", ".post1", ".dev1", "a1.dev2"])).map("".join)
SPECIFIER = st.one_of(
    st.tuples(st.sampled_from(["<", "<=", ">", ">=", "!=", "==", "~=", "==="]), VERSION).map("".join),
    st.tuples(st.sampled_from(["==", "!="]), st.sampled_from(["", "1!"]), RELEASE, st.just(".*")).map("".join),
    st.tuples(st.just("=="), VERSION, st.just("+local.1")).map("".join),
)


@given(st.lists(SPECIFIER, max_size=3).map(",".join), VERSION, st.sampled_from(["", "+local", "+local.1", "+2"]))
def test_what_satisfies_a_specifier_is_within_its_bounds(specifier: str, version: str, local: str) -> None:
    lowest, highest = bounds(specifier)
    if satisfies(specifier, version + local):
        base = without_local(Version(version + local))
        assert lowest is None or lowest <= base
        assert highest is None or base <= highest
