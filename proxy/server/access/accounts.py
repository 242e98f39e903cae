"""Who is let in: tokens, and users with the hashes of their passwords, as the settings and their files name them."""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from proxy.config import AccessSection, SettingsError
from proxy.config.section import check_token

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-9])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""Costs from 4 to 19; of the salt's last letter two bits count, and the library refuses others."""


_HASHED_TOKEN = re.compile(r"sha256:([0-9a-fA-F]{64})")

_LINE_BREAKS = ("\n", "\r")
_AT_REST = 2.0
"""Seconds for which a file is left as it is before a last line without a line break counts."""
_LOOKS = 5

Mark: TypeAlias = tuple[int, int, int] | None
"""What tells one state of a file from another: when it was written, its size and its number; None where there is no file."""


@dataclass(frozen=True)
class Accounts:
    """All who are known: `tokens`, and bcrypt hashes by name of the user.

    `hashed_tokens` are SHA-256 digests of further tokens. `marks` are those of the files that say so; of the files in `cut_short` a last
    line without a line break was left out.
    """

    tokens: tuple[str, ...] = field(repr=False)
    hashes: Mapping[str, bytes] = field(repr=False)
    marks: tuple[Mark, ...] = ()
    hashed_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    cut_short: tuple[Path, ...] = ()

    @cached_property
    def token_digests(self) -> tuple[bytes, ...]:
        """The SHA-256 digests of all tokens."""
        return *(hashlib.sha256(token.encode()).digest() for token in self.tokens), *self.hashed_tokens

    @cached_property
    def dearest_hash(self) -> bytes:
        """The hash that takes longest to check a password against; there is one where there are users."""
        return max(self.hashes.values(), key=lambda hashed: hashed[4:6])


class NamesNobody(SettingsError):
    """There is access control, and nobody to let in."""


def read_accounts(section: AccessSection, *, complete_lines_only: bool = False) -> Accounts:
    """Return who is let in, by the files as they are; `complete_lines_only` leaves out a last line that no line break ends.

    Raise SettingsError if a file cannot be read or is not understood, NamesNobody if it names nobody.
    """
    # Looked at first: what is written while they are read will be seen as a change.
    marks = marks_of(section)
    tokens = [each.get_secret_value() for each in section.tokens]
    hashed_tokens: list[bytes] = []
    hashes: dict[str, bytes] = {}
    cut_short: list[Path] = []

    def lines(file: Path, key: str) -> Iterator[tuple[str, str]]:
        text = _text(file, key)
        if complete_lines_only and text and not text.endswith(_LINE_BREAKS):
            cut_short.append(file)
            text = "".join(text.splitlines(keepends=True)[:-1])
        return _lines(text, f"[access] {key}: {file}")

    if section.tokens_file is not None:
        _read_tokens(lines(section.tokens_file, "tokens_file"), tokens, hashed_tokens)
    if section.htpasswd is not None:
        _read_hashes(lines(section.htpasswd, "htpasswd"), hashes)
    if section.controlled and not tokens and not hashed_tokens and not hashes:
        raise NamesNobody("[access]", "its files name nobody, so that nobody would be let in; add a token or a user")
    return Accounts(tuple(tokens), hashes, marks, tuple(hashed_tokens), tuple(cut_short))


def read_accounts_at_rest(section: AccessSection) -> Accounts:
    """As `read_accounts`, but if a file without a line break at its end was written just now, wait until nobody writes to it any more.

    Half a token may be a token. A file that is written to for ten seconds counts up to its last line break.
    """
    for _ in range(_LOOKS):
        marks = marks_of(section)
        if _being_written(section, marks):
            time.sleep(_AT_REST)
            if marks_of(section) != marks:
                continue
        accounts = read_accounts(section)
        if accounts.marks == marks == marks_of(section):
            return accounts
    return read_accounts(section, complete_lines_only=True)


def _read_tokens(lines: Iterator[tuple[str, str]], tokens: list[str], hashed_tokens: list[bytes]) -> None:
    for place, line in lines:
        if line.startswith("sha256:"):
            found = _HASHED_TOKEN.fullmatch(line)
            if found is None:
                raise SettingsError(place, "a hashed token is sha256: and the 64 hexadecimal digits that sha256sum writes for it")
            hashed_tokens.append(bytes.fromhex(found[1]))
            continue
        try:
            check_token(line)
        except ValueError as error:
            raise SettingsError(place, str(error)) from None
        tokens.append(line)


def _read_hashes(lines: Iterator[tuple[str, str]], hashes: dict[str, bytes]) -> None:
    for place, line in lines:
        user, colon, hashed = line.partition(":")
        if not (colon and user and _BCRYPT.fullmatch(hashed)):
            raise SettingsError(place, "only USER:HASH with a bcrypt hash is read; `htpasswd -B FILE USER` writes such a line")
        # The first one counts, as at other servers.
        hashes.setdefault(user, hashed.encode())


def _being_written(section: AccessSection, marks: tuple[Mark, ...]) -> bool:
    """Return whether a file has no line break at its end and is younger than what counts as at rest."""
    now = time.time_ns()
    for file, mark in zip(files_of(section), marks, strict=True):
        if mark is None or now - mark[0] > _AT_REST * 1e9:
            continue
        try:
            content = file.read_bytes()
        except OSError:
            continue
        if content and not content.endswith((b"\n", b"\r")):
            return True
    return False


def files_of(section: AccessSection) -> tuple[Path, ...]:
    """Gives the files that `read_accounts` reads."""
    return tuple(each for each in (section.tokens_file, section.htpasswd) if each is not None)


def marks_of(section: AccessSection) -> tuple[Mark, ...]:
    """Gives the marks of the files that `read_accounts` reads, as they are now."""
    return tuple(_mark(file) for file in files_of(section))


def _mark(file: Path) -> Mark:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _text(path: Path, key: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"[access] {key}", f"{path} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"[access] {key}", f"{path} is not UTF-8; save it in that encoding") from error


def _lines(text: str, where: str) -> Iterator[tuple[str, str]]:
    """Return the lines that say something, each with its place in words."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield f"{where}, line {number}", line.strip()
