"""Accounts: tokens, and users with the hashes of their passwords, as the settings and their files name them."""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from pathlib import Path

from proxy.config import AccessSection, SettingsError
from proxy.config.section import check_token
from proxy.server.access.file_watch import AT_REST, LOOKS, Mark, Marks

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-9])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""Costs from 4 to 19; of the salt's last letter two bits count, and the library refuses others."""

_HASHED_TOKEN = re.compile(r"sha256:([0-9a-fA-F]{64})")


class LastToken(Enum):
    """How the last line of a tokens file ends."""

    NONE = auto()
    """There is no line, or half of it would be no token: it is a comment or a digest."""
    OPEN = auto()
    """It is a token that no line break ends."""
    ENDED = auto()
    """A line break ends it."""


@dataclass(frozen=True)
class Accounts:
    """All accounts: `tokens`, and bcrypt hashes by name of the user.

    `hashed_tokens` are SHA-256 digests of further tokens. `marks` are those of the files that say so; of the files in `cut_short` a last
    line without a line break was left out. `last_token` says how the tokens file ends.
    """

    tokens: tuple[str, ...] = field(repr=False)
    hashes: Mapping[str, bytes] = field(repr=False)
    marks: Marks = ()
    hashed_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    cut_short: tuple[Path, ...] = ()
    last_token: LastToken = LastToken.NONE

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
    last_token = LastToken.NONE

    def lines(file: Path, key: str) -> Iterator[tuple[str, str]]:
        nonlocal last_token
        content = _content(file, key)
        if complete_lines_only and content != _complete_lines(content):
            cut_short.append(file)
            content = _complete_lines(content)
        if file == section.tokens_file:
            last_token = _last_token(content)
        return _lines(_text(content, file, key), f"[access] {key}: {file}")

    if section.tokens_file is not None:
        _read_tokens(lines(section.tokens_file, "tokens_file"), tokens, hashed_tokens)
    if section.htpasswd is not None:
        _read_hashes(lines(section.htpasswd, "htpasswd"), hashes)
    if section.controlled and not tokens and not hashed_tokens and not hashes:
        raise NamesNobody("[access]", "its files name nobody, so that nobody would be let in; add a token or a user")
    return Accounts(tuple(tokens), hashes, marks, tuple(hashed_tokens), tuple(cut_short), last_token)


def read_accounts_as_of(section: AccessSection, marks: Marks, before: Accounts | None = None) -> Accounts | None:
    """Return who is let in, by files of which `marks_of` gave `marks`; None if they did not stay as they were then.

    Raise as `read_accounts` does, and if a tokens file in which a line break ended the last line `before` was written to and has none
    now: a writer that was stopped, or a full disk, leaves the beginning of a token. Another file in its place may end as it likes.
    """
    try:
        accounts = read_accounts(section)
        if before is not None and accounts.last_token is LastToken.OPEN and before.last_token is LastToken.ENDED:
            _check_is_another_file(section, accounts, before)
    except SettingsError:
        if marks_of(section) != marks:
            # It was read while it was being written: the error may be that of half a file.
            return None
        raise
    return accounts if marks_of(section) == marks else None


def _check_is_another_file(section: AccessSection, accounts: Accounts, before: Accounts) -> None:
    """Raise SettingsError if the tokens file is the one that it was before."""
    # It is the first of them.
    now, earlier = accounts.marks[0], before.marks[0]
    if now is not None and earlier is not None and now[2] == earlier[2]:
        raise SettingsError(
            f"[access] tokens_file: {section.tokens_file}",
            "no line break ends the last line any more, as if it were cut short; add one, or put another file in its place by mv",
        )


def read_accounts_at_rest(section: AccessSection) -> Accounts:
    """Return who is let in; wait until nobody writes to files that were written just now and end without a line break.

    Half a token may be a token. A file that is written to for ten seconds counts up to its last line break. Raise as `read_accounts` does.
    """
    for _ in range(LOOKS):
        marks = marks_of(section)
        if _being_written(section, marks):
            time.sleep(AT_REST)
            if marks_of(section) != marks:
                continue
        accounts = read_accounts_as_of(section, marks)
        if accounts is not None:
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


def _being_written(section: AccessSection, marks: Marks) -> bool:
    """Return whether a file has no line break at its end and is younger than what counts as at rest."""
    now = time.time_ns()
    for file, mark in zip(files_of(section), marks, strict=True):
        # A time in the future, as of another machine's clock, tells nothing.
        if mark is None or abs(now - mark[0]) > AT_REST * 1e9:
            continue
        with suppress(OSError):
            content = file.read_bytes()
            if content != _complete_lines(content):
                return True
    return False


def _complete_lines(content: bytes) -> bytes:
    """Return all lines that a line break ends."""
    return content[: 1 + max(content.rfind(b"\n"), content.rfind(b"\r"))]


def _last_token(content: bytes) -> LastToken:
    whole = _complete_lines(content)
    rest = content[len(whole) :].strip()
    if not rest:
        return LastToken.ENDED if whole else LastToken.NONE
    return LastToken.NONE if rest.startswith((b"#", b"sha256:")) else LastToken.OPEN


def files_of(section: AccessSection) -> tuple[Path, ...]:
    """Return the files that `read_accounts` reads."""
    return tuple(each for each in (section.tokens_file, section.htpasswd) if each is not None)


def marks_of(section: AccessSection) -> Marks:
    """Return the marks of the files that `read_accounts` reads, as they are now."""
    return tuple(_mark(file) for file in files_of(section))


def _mark(file: Path) -> Mark:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _content(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"[access] {key}", f"{path} cannot be read ({error.strerror or error})") from error


def _text(content: bytes, path: Path, key: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"[access] {key}", f"{path} is not UTF-8; save it in that encoding") from error


def _lines(text: str, where: str) -> Iterator[tuple[str, str]]:
    """Return the lines that say something, each with its place in words."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield f"{where}, line {number}", line.strip()
