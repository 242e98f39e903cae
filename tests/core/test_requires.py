"""What a resolver will ask for next."""

import pytest

from proxy.core.requires import required_projects


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
