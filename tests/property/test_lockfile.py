"""Locks there and back: whatever else stands in a lock, other addresses change nothing but the addresses."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.lockfile import read_lock, readdressed

PROXY, MIRROR = "http://127.0.0.1:8080/simple/", "https://mirror.example.com/pypi/simple"

_texts = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", exclude_categories=("Cc", "Cs")), max_size=20)
_names = st.from_regex(r"[a-z]{1,6}(-[a-z0-9]{1,4})?", fullmatch=True)
_addresses = st.sampled_from([PROXY, "https://other.example.com/simple", "folder"])


def _escaped(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def _noise(draw: Any) -> str:
    """What may stand between tables: comments, keys with strings of all kinds, some of which look like addresses."""
    text = draw(st.one_of(_texts, st.sampled_from([PROXY, f'"{PROXY}"', f"url = '{PROXY}'", "#", '"', "'", '"""'])))
    shape = draw(st.sampled_from(["comment", "basic", "literal", "long"]))
    key = f"note{draw(st.integers(0, 10**9))}"
    if shape == "comment":
        return f"# {text}\n"
    if shape == "literal" and "'" not in text:
        return f"{key} = '{text}x'\n"
    if shape == "long":
        return f'{key} = """\n{_escaped(text)[1:-1]}\n"{PROXY}" # \n"""\n'
    return f"{key} = {_escaped(text + 'x')}\n"


@st.composite
def _package(draw: Any) -> str:
    name, registry = draw(_names), draw(_addresses)
    files = "".join(
        f'    {{ url = "http://127.0.0.1:8080/files/{name}/{name}-{number}.whl", hash = "sha256:{number}" }},\n'
        for number in range(draw(st.integers(0, 3)))
    )
    return f'[[package]]\nname = "{name}"\nversion = "1"\nsource = {{ registry = "{registry}" }}\nwheels = [\n{files}]\n{draw(_noise())}'


_locks = st.builds(
    lambda noise, packages, ending: f"version = 1\n{noise}\n{''.join(packages)}".replace("\n", ending),
    _noise(),
    st.lists(_package(), max_size=4),
    st.sampled_from(["\n", "\r\n"]),
)


@given(_locks)
def test_there_and_back_gives_the_same_bytes(text: str) -> None:
    lock = read_lock(text)
    files = {
        file.url: file.url.replace("http://127.0.0.1:8080/files", "https://mirror.example.com/d")
        for package in lock.packages
        for file in package.files
        if package.registry == PROXY
    }
    there = readdressed(lock, {PROXY: MIRROR}, files)
    assert readdressed(read_lock(there), {MIRROR: PROXY}, {new: old for old, new in files.items()}) == text
    changed = read_lock(there)
    assert PROXY not in changed.registries
    assert [(each.name, [(file.filename, file.hash) for file in each.files]) for each in changed.packages] == [
        (each.name, [(file.filename, file.hash) for file in each.files]) for each in lock.packages
    ]
    notes = {key: value for key, value in tomllib.loads(text).items() if key.startswith("note")}
    assert notes == {key: value for key, value in tomllib.loads(there).items() if key.startswith("note")}


@given(_locks)
def test_where_no_address_is_to_change_nothing_changes(text: str) -> None:
    assert readdressed(read_lock(text), {"https://unknown.example.com/simple": MIRROR}, {}) == text
