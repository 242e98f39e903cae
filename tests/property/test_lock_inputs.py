"""Locks of any shape: each is read, or refused in one line. None ends in a traceback."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.audit.inputs import read_order
from proxy.audit.wanted import Unreadable
from tests.audit.lock_texts import Locked, pdm_lock, poetry_lock, pylock, uv_lock, wheel

MIRROR = "https://mirror.example.com/simple/"
PACKAGES = [
    Locked("one", MIRROR, [wheel("one", "https://mirror.example.com/")]),
    Locked("two", None, [wheel("two", "https://x.example.com/")]),
]
PIPFILE_LOCK = {
    "_meta": {"requires": {"python_version": "3.12"}, "sources": [{"name": "pypi", "url": MIRROR}]},
    "default": {"one": {"version": "==1.0", "hashes": ["sha256:00"], "index": "pypi", "markers": "os_name == 'nt'"}, "two": {"path": "."}},
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "uv.lock": tomllib.loads(uv_lock(PACKAGES[:1], {"two": '{ git = "https://x.example.com/" }'})),
    "pylock.toml": tomllib.loads(pylock(PACKAGES, {"three": 'directory = { path = "three" }'})),
    "poetry.lock": tomllib.loads(poetry_lock(PACKAGES, {"three": "directory"})),
    "pdm.lock": tomllib.loads(pdm_lock(PACKAGES, {"three": 'path = "three"'}, static_urls=True)),
    "Pipfile.lock": PIPFILE_LOCK,
}

Path_: TypeAlias = tuple[str | int, ...]

_STRANGE = [
    "",
    ".",
    "\x1b[31m",
    "https://[",
    "a" * 300,
    "sha256:",
    "==",
    ">=3.x",
    "os_name == 'nt' or",
    "(" * 200,
    "https://x:y/",
    "é",
    "../",
    "%",
]
_texts = st.one_of(st.sampled_from(_STRANGE), st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=10))
_scalars = st.one_of(_texts, st.integers(-(2**70), 2**70), st.booleans(), st.floats(allow_nan=False, allow_infinity=False))
_keys = st.one_of(_texts, st.sampled_from(["name", "version", "source", "registry", "url", "package", "packages", "metadata", "files"]))
_values: st.SearchStrategy[Any] = st.recursive(
    _scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)), max_leaves=6
)


def _places(value: Any, place: Path_ = ()) -> Iterator[Path_]:
    yield place
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from _places(part, (*place, key))


def _changed(value: Any, place: Path_, new: Any) -> Any:
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = _changed(value[place[0]], place[1:], new)
    return copy


def _removed(value: Any, place: Path_) -> Any:
    copy = value.copy()
    if len(place) == 1:
        del copy[place[0]]
    else:
        copy[place[0]] = _removed(value[place[0]], place[1:])
    return copy


def _written(value: Any) -> str:
    """Return a value as TOML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _text(name: str, document: Any) -> str:
    if name == "Pipfile.lock":
        return json.dumps(document)
    return "".join(f"{_quoted(key)} = {_written(value)}\n" for key, value in document.items())


def _read(name: str, text: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text)
        try:
            order = read_order([], [path], [], MIRROR)
        except Unreadable as error:
            said = str(error)
            assert said.startswith(f"{path}: ")
            assert said.isprintable()
            assert not any(word in said for word in ("object", "NoneType", "array", "msgspec", "'str'", "`str`", "Errno"))
        else:
            assert order.wants


@st.composite
def _mutated(draw: Any) -> tuple[str, str]:
    name = draw(st.sampled_from(sorted(DOCUMENTS)))
    document: Any = DOCUMENTS[name]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([each for each in _places(document) if each]))
        how = draw(st.sampled_from(["value", "removed", "key", "list", "table"]))
        if how == "removed":
            document = _removed(document, place)
        elif how == "key":
            parent = place[:-1]
            old = document
            for key in parent:
                old = old[key]
            document = _changed(document, parent, {**old, draw(_keys): draw(_values)} if isinstance(old, dict) else [*old, draw(_values)])
        else:
            new = draw(_values)
            document = _changed(document, place, new if how == "value" else [new] if how == "list" else {"name": new})
        if not document:
            break
    return name, _text(name, document)


@given(_mutated())
def test_a_lock_with_anything_in_the_wrong_place_is_read_or_refused_in_one_line(case: tuple[str, str]) -> None:
    name, text = case
    _read(name, text.encode())


@given(st.sampled_from([*DOCUMENTS, "other.lock", "other.toml", "pylock.x.toml"]), st.dictionaries(_keys, _values, max_size=4))
def test_a_document_of_any_shape_is_read_or_refused_in_one_line(name: str, document: dict[str, Any]) -> None:
    _read(name, _text(name, document).encode())


@given(
    st.sampled_from([*DOCUMENTS, "other.lock", "other.toml"]), st.one_of(st.binary(), st.text(max_size=40).map(lambda text: text.encode()))
)
@example("uv.lock", b"a = " + b"[" * 5000)
@example("uv.lock", b"version = 1" + b"0" * 5000)
@example("uv.lock", b"version = 0x" + b"f" * 5000)
@example("Pipfile.lock", b"[" * 5000)
@example("Pipfile.lock", b'{"_meta": {}, "default": {"\\ud800": {"version": "==1"}}}')
@example("Pipfile.lock", b'{"default": ' + b'{"a": ' * 5000)
@example("other.lock", b"\xff\xfev\x00")
def test_bytes_of_any_kind_are_read_or_refused_in_one_line(name: str, text: bytes) -> None:
    _read(name, text)


def test_the_documents_that_are_mutated_are_read_as_they_are() -> None:
    for name, document in DOCUMENTS.items():
        with TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_text(_text(name, document), encoding="utf-8")
            assert [want.project for want in read_order([], [path], [], MIRROR).wants] == ["one"], name
