"""What README.md and docs/ show can be done: links lead somewhere, commands are accepted, settings are known."""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from proxy.cli.command import commands
from proxy.config import AccessSection
from proxy.config.load import load_settings
from proxy.server.access.accounts import read_accounts
from tests.__main__ import ROOT

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"<img\b[^>]*>")


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def prose(document: Path) -> str:
    return _FENCED.sub("", text_of(document))


def blocks(document: Path, *languages: str) -> list[str]:
    return [block for language, block in _FENCED.findall(text_of(document)) if language in languages]


def attribute(image: str, name: str) -> str:
    found = re.search(rf'{name}="([^"]*)"', image)
    return found[1] if found else ""


def links(document: Path) -> list[str]:
    text = prose(document)
    return [target for _, _, target in _LINK.findall(text)] + [attribute(image, "src") for image in _IMAGE.findall(text)]


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def pictures(document: Path) -> dict[str, str]:
    """The pictures of a document, and the words that stand for them."""
    text = prose(document)
    written = {target: alt for mark, alt, target in _LINK.findall(text) if mark}
    return written | {attribute(image, "src"): attribute(image, "alt") for image in _IMAGE.findall(text)}


def named(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_readme_shows_the_lock_the_report_the_explanation_and_the_status_page_and_says_what_is_seen() -> None:
    shown = pictures(README)
    assert {Path(each).stem for each in shown} >= {"lock", "check", "explain", "status", "project"}
    assert [picture for picture, words in shown.items() if len(words) < 40] == []


def test_every_picture_is_shown_somewhere() -> None:
    made = {each for each in (ROOT / "docs" / "pictures").iterdir() if each.suffix in {".svg", ".png"}}
    assert made == {(document.parent / picture).resolve() for document in DOCUMENTS for picture in pictures(document)}


def test_readme_leads_to_every_document() -> None:
    led = {(ROOT / link).resolve() for link in links(README)}
    assert {each for each in DOCUMENTS if each != README} - led == set()


def typed(document: Path) -> Iterator[str]:
    """The command lines of mirrormend in a document, in blocks and in sentences."""
    for block in blocks(document, "sh", "console"):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            for part in re.split(r"&&|&$|\||;|#", line.removeprefix("$ ")):
                found = re.match(r"\s*(?:[A-Z_]+=\S+ )*(?:\.venv/bin/|uvx )?mirrormend ((?!uv\.lock).+)", part)
                if found and not line.startswith("mirrormend:"):
                    yield found[1]
    for code in re.findall(r"`mirrormend ([a-z][^`]*)`", prose(document)):
        if "|" not in code and "…" not in code:
            yield code


COMMANDS = [(document, line) for document in DOCUMENTS for line in sorted(set(typed(document)))]


@pytest.mark.parametrize(("document", "line"), COMMANDS, ids=[f"{named(document)}: {line}" for document, line in COMMANDS])
def test_every_command_that_is_shown_is_accepted(document: Path, line: str) -> None:
    name, *words = shlex.split(line)
    command = commands.commands[name]
    try:
        command.make_context(f"mirrormend {name}", list(words)).close()
    except click.exceptions.Exit:
        # --help and its like
        assert "--help" in words
    except click.MissingParameter:
        # In a sentence a command may stand for itself.
        assert words == []


def test_the_commands_of_the_readme_are_found() -> None:
    found = {line.split()[0] for document, line in COMMANDS if document == README}
    assert found >= {"serve", "demo", "lock", "check", "explain", "warm"}


def test_every_option_in_the_table_of_settings_is_one_of_serve() -> None:
    rows = re.findall(r"^\|[^|]+\| (`--[^\n]+)", text_of(README), flags=re.MULTILINE)
    told = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
    assert told
    assert told == {name for each in commands.commands["serve"].params for name in each.opts if name.startswith("--")}


@pytest.mark.parametrize("number", range(len(blocks(README, "toml"))))
def test_the_settings_that_readme_shows_are_known(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = blocks(README, "toml")
    given = tomllib.loads(shown[number])
    for name in re.findall(r'"([\w-]+\.(?:pem|txt|htpasswd))"', shown[number]):
        Path(name).touch()
    text = shown[number]
    if "rescue" in given and "reference" not in given:
        text = f"{next(each for each in shown if '[reference]' in each)}{text}"
    if "upstream" not in given:
        text += '[upstream]\nurl = "https://mirror.example.com/simple/"\n'
    Path("shown.toml").write_text(text, encoding="utf-8")
    assert load_settings(file=Path("shown.toml"), environ={}, options={}).upstream


@pytest.mark.parametrize("document", [README, ROOT / "docs" / "security.md"], ids=named)
@pytest.mark.parametrize("ending", ["", "\n"], ids=["no line break", "a line break"])
def test_the_command_that_adds_a_token_leaves_the_others_as_they_are(document: Path, ending: str, tmp_path: Path) -> None:
    (command,) = (line for line in text_of(document).splitlines() if ">> tokens.new" in line)
    files = [tmp_path / name for name in ("tokens.txt", "tokens.new")]
    for each in files:
        each.touch(mode=0o600)
        each.write_text(f"0123456789abcdef-token{ending}", encoding="utf-8")
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True, timeout=120)  # noqa: S607 - the shell of the machine, as in the document
    changed = files[1] if files[1].exists() else files[0]
    assert changed.stat().st_mode & 0o777 == 0o600
    accounts = read_accounts(AccessSection(tokens_file=changed))
    assert accounts.tokens[0] == "0123456789abcdef-token"
    assert len(accounts.token_digests) == 2
