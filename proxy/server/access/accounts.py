"""Who is let in: tokens, and users with the hashes of their passwords, as the settings and their files name them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from proxy.config import AccessSection, SettingsError
from proxy.config.section import check_token

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|1[0-9])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""Costs from 4 to 19; of the salt's last letter two bits count, and the library refuses others."""


Mark: TypeAlias = tuple[int, int, int] | None
"""What tells one state of a file from another: when it was written, its size and its number; None where there is no file."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """All who are known: `tokens`, and bcrypt hashes by name of the user. `marks` are those of the files that say so."""

    tokens: tuple[str, ...] = field(repr=False)
    hashes: Mapping[str, bytes] = field(repr=False)
    marks: tuple[Mark, ...] = ()


class NamesNobody(SettingsError):
    """There is access control, and nobody to let in."""


def read_accounts(section: AccessSection) -> Accounts:
    """Gives who is let in; raises SettingsError where a file cannot be read or is not understood, NamesNobody where none is left."""
    # Looked at first: what is written while they are read will be seen as a change.
    marks = marks_of(section)
    tokens = [each.get_secret_value() for each in section.tokens]
    hashes: dict[str, bytes] = {}
    if section.tokens_file is not None:
        for place, line in _lines(section.tokens_file, "tokens_file"):
            try:
                check_token(line)
            except ValueError as error:
                raise SettingsError(place, str(error)) from None
            tokens.append(line)
    if section.htpasswd is not None:
        for place, line in _lines(section.htpasswd, "htpasswd"):
            user, colon, hashed = line.partition(":")
            if not (colon and user and _BCRYPT.fullmatch(hashed)):
                raise SettingsError(place, "only USER:HASH with a bcrypt hash is read; `htpasswd -B FILE USER` writes such a line")
            # The first one counts, as at other servers.
            hashes.setdefault(user, hashed.encode())
    if section.controlled and not tokens and not hashes:
        raise NamesNobody("[access]", "its files name nobody, so that nobody would be let in; add a token or a user")
    return Accounts(tuple(tokens), hashes, marks)


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


def _lines(path: Path, key: str) -> Iterator[tuple[str, str]]:
    """Gives the lines that say something, each with its place in words."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"[access] {key}", f"{path} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"[access] {key}", f"{path} is not UTF-8; save it in that encoding") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield f"[access] {key}: {path}, line {number}", line.strip()
