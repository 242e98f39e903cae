"""The pictures of the documentation show what the commands say today, and nothing of the machine on which they were made."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from docs.pictures.recordings import COLUMNS, WIDE, Bench, record_check, record_lock
from proxy.demo.mirror import MISSING
from tests.__main__ import ROOT
from tests.clients import free_port

PICTURES = ROOT / "docs" / "pictures"
DRAWN = {"lock": COLUMNS, "check": WIDE, "explain": COLUMNS}
"""The pictures of terminals, and their columns."""

ANEW = "make the pictures anew: python -m docs.pictures.make"
_SVG = "{http://www.w3.org/2000/svg}"
_LINE = 24.4
_NOT_OURS = re.compile(r"date: \w+, \d+ \w+ \d+ [\d:]+ GMT|\b[0-9a-f]{32,}\b")


def svg(name: str) -> str:
    return (PICTURES / f"{name}.svg").read_text(encoding="utf-8")


def lines_of(name: str) -> list[str]:
    """What stands in a picture of a terminal, line by line."""
    lines: dict[int, str] = {}
    for text in ET.fromstring(svg(name)).iter(f"{_SVG}text"):  # noqa: S314 - our own file
        number = round((float(text.attrib["y"]) - 20) / _LINE)
        column = round(float(text.attrib["x"]) / 12.2)
        lines[number] = lines.get(number, "").ljust(column) + (text.text or "").replace("\xa0", " ")
    return [lines.get(number, "") for number in range(max(lines) + 1)]


def words_of_picture(name: str) -> set[str]:
    # A line that is full to its last column goes on in the next one.
    text = "".join(line if len(line) == DRAWN[name] and not line.endswith(" ") else f"{line}\n" for line in lines_of(name))
    return words(text)


def words(said: str) -> set[str]:
    """The words of what a terminal shows, whatever their order, without numbers and what the moment brings."""
    text = re.sub(r"\x1b\[[\d;]*m", "", said).replace("\\\n", "\n")
    return set(re.sub(r"\d+", "0", _NOT_OURS.sub("", text)).split())


def bench(folder: Path) -> Bench:
    return Bench(folder, free_port(), free_port())


def test_the_picture_of_a_lock_shows_it_failing_and_mended(tmp_path: Path) -> None:
    shown, said = "".join(lines_of("lock")), record_lock(bench(tmp_path))
    assert MISSING in shown
    assert re.search(r"404 Not Found.*Resolved 3 packages", shown)
    # What uv says is uv's, and changes with it; the commands and the headers are ours.
    ours = [line for line in re.sub(r"\x1b\[[\d;]*m", "", said).splitlines() if re.match(r"\$|    --|Mirrormend-", line)]
    assert [line for line in ours if line not in lines_of("lock")] == [], ANEW
    assert len(ours) == 8


def test_the_pictures_of_check_and_explain_have_the_words_that_these_commands_say(tmp_path: Path) -> None:
    differing: dict[str, set[str]] = {}
    for attempt in range(3):
        # What a slow machine made differ once does not differ again; what the commands say differs each time.
        check, explain = record_check(bench(tmp_path / str(attempt)))
        said = {"check": words(check), "explain": words(explain)}
        differing = {name: difference for name, each in said.items() if (difference := words_of_picture(name) ^ each)}
        if not differing:
            break
    assert differing == {}, ANEW


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_picture_is_light_and_loads_nothing(name: str) -> None:
    drawn = svg(name)
    assert len(drawn.encode()) < 60_000
    assert not re.search(r"@import|@font-face|url\(|href|<image|<script", drawn)
    addresses = set(re.findall(r"https?://[^\s/\"]+", drawn))
    assert addresses == {"http://www.w3.org", "http://127.0.0.1:8080", "http://127.0.0.1:8081"} - (
        set() if name == "lock" else {"http://127.0.0.1:8080"}
    )


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_picture_tells_nothing_of_the_machine(name: str) -> None:
    text = re.sub(r"https?://\S+", "", "\n".join(lines_of(name)))
    assert re.findall(r"(?<![\w.<])/(?!dev/null)\w+\S*", re.sub(r"application/json", "", text)) == []
    assert str(ROOT) not in svg(name)


@pytest.mark.parametrize("name", DRAWN)
def test_no_line_is_longer_than_the_picture_is_wide(name: str) -> None:
    assert max(map(len, lines_of(name))) <= DRAWN[name]


@pytest.mark.parametrize("picture", ["status", "status-phone", "project", "project-phone"])
def test_a_photograph_is_light_and_holds_nothing_beside_its_pixels(picture: str) -> None:
    data = (PICTURES / f"{picture}.png").read_bytes()
    assert len(data) < 150_000
    kinds, at = [], 8
    while at < len(data):
        kinds.append(data[at + 4 : at + 8].decode())
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    assert set(kinds) <= {"IHDR", "PLTE", "IDAT", "IEND"}
