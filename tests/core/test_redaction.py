"""Of an upstream's address nothing is told that may be a secret."""

import pytest

from proxy.core.redaction import Redaction

SECRET = Redaction(["https://me:pw@mirror.example.com:8443/t0ken-4711-abcd/simple/"])
WORD = Redaction(["https://mirror.example.com/hunter/simple/"])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("https://mirror.example.com:8443/t0ken-4711-abcd/simple/", "https://mirror.example.com:8443/…/"),
        (
            "https://mirror.example.com:8443/t0ken-4711-abcd/simple/acme/ answered 404",
            "https://mirror.example.com:8443/…/acme/ answered 404",
        ),
        ("http://mirror.example.com/t0ken-4711-abcd/files/a.whl", "http://mirror.example.com/…/files/a.whl"),
        ("https://cdn.example.com/t0ken-4711-abcd/files/a.whl", "https://cdn.example.com/…/files/a.whl"),
        ("no /t0ken-4711-abcd/simple/acme/ here", "no /…/acme/ here"),
        ("the tenant t0ken-4711-abcd is over its quota", "the tenant … is over its quota"),
        ("https://cdn.example.com/simple/acme/", "https://cdn.example.com/simple/acme/"),
    ],
)
def test_the_path_is_told_neither_in_addresses_nor_in_sentences(said: str, told: str) -> None:
    assert SECRET.text(said) == told
    assert SECRET.body(said.encode()).decode() == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("https://mirror.example.com/hunter/simple/acme/", "https://mirror.example.com/…/acme/"),
        ("https://mirror.example.com/hunter", "https://mirror.example.com/…"),
        ("https://mirror.example.com/hunter2/simple/", "https://mirror.example.com/hunter2/simple/"),
        ("https://cdn.example.com/hunter/a.whl", "https://cdn.example.com/…/a.whl"),
        ("/simple/hunter/", "/simple/hunter/"),
        ("hunter-1.0.tar.gz of hunter", "hunter-1.0.tar.gz of hunter"),
    ],
)
def test_a_project_that_is_called_as_the_path_is_told(said: str, told: str) -> None:
    assert WORD.text(said) == told


@pytest.mark.parametrize("path", ["/simple/", "/", "/artifactory/api/pypi/pypi/simple/", "/root/pypi/+simple/"])
def test_a_path_of_words_that_everybody_knows_is_told(path: str) -> None:
    url = f"https://mirror.example.com{path}"
    redaction = Redaction([url])
    assert not redaction
    assert redaction.text(f"{url}acme/") == f"{url}acme/"


def test_a_path_that_is_called_as_the_mirror_is_told() -> None:
    redaction = Redaction(["https://mirror.example.com/team/simple/"], ["team"])
    assert redaction.text("/team/simple/acme/ of https://mirror.example.com/team/simple/").count("team") == 2


def test_other_spellings_of_the_path_are_not_told_either() -> None:
    redaction = Redaction(["https://mirror.example.com/a%2Bb=c/simple/"])
    for spelled in ("a+b=c", "a%2Bb=c", "a%2Bb%3Dc"):
        assert redaction.text(f"https://mirror.example.com/{spelled}/simple/acme/") == "https://mirror.example.com/…/acme/"


def test_the_path_after_words_that_everybody_knows_is_not_told() -> None:
    redaction = Redaction(["https://mirror.example.com/repository/hunter/simple/"])
    assert redaction.text("https://mirror.example.com/repository/hunter/packages/a.whl") == "https://mirror.example.com/…/packages/a.whl"
    assert redaction.text("no /repository/hunter/simple/acme/") == "no /…/acme/"
