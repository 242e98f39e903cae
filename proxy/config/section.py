"""What all sections of the settings share: their base, the kinds of their values, and the rules for addresses.

No error of a validator quotes what was given: it may hold a password.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from proxy.core.url_standard import parse_url


class Unit(StrEnum):
    """What a number counts; it stands in a field's metadata for the reference and for error messages."""

    SECONDS = "seconds"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Allowed:
    """How the values of a field look where its type does not tell; it stands in the field's metadata."""

    words: str


class Section(BaseModel):
    """What all sections share: frozen, and a key that nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        # pydantic would read true as 1, and nobody who writes true means one second.
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise PydanticCustomError("no_yes", "true and false do not fit here")
        return value


def _from_home(path: Path) -> Path:
    return path.expanduser() if path.parts[:1] == ("~",) else path


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), Unit.SECONDS]
Bytes = Annotated[int, Field(gt=0), Unit.BYTES]
Budget = Literal["auto"] | Annotated[int, Field(ge=0)]
Rate = Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)]
File = Annotated[Path, AfterValidator(_from_home), Allowed("path of a file")]


def _speakable(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return url.isprintable() and " " not in url


def simple_api_url(url: str) -> str:
    """Gives the address of a simple API with one slash at its end; raises ValueError where it can be none."""
    if not _speakable(url):
        raise ValueError("its host, port or spelling is no address; write special characters of a password as %-escapes")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("give the whole address of the mirror's simple API, starting with https:// or http://")
    if parts.query or parts.fragment:
        raise ValueError("leave out the query and the fragment")
    return _with_ascii_host(url).rstrip("/") + "/"


def _with_ascii_host(url: str) -> str:
    """Return the address with its host as it is dialled (UTS #46), all else as it is spelled; raise ValueError if no name can be such."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    if place.isascii() and (place.startswith("[") or "%" not in place):
        return url
    try:
        place = parse_url(url).place
    except ValueError:
        raise ValueError("its host is no name that can be asked for") from None
    return urlunsplit(parts._replace(netloc=f"{user}{at}{place}"))


def proxy_url(address: str) -> str:
    """Return the address of an outbound proxy with its scheme, http:// if it has none; raise ValueError if it can be none."""
    url = address if "://" in address else f"http://{address}"
    # A slash, ? or # in a password ends the part that names the host, and what comes after it would be shown.
    if not _speakable(url) or not urlsplit(url).hostname or "@" in "".join(urlsplit(url)[2:]):
        raise ValueError("write it as http://HOST:PORT, and special characters of a password as %-escapes")
    return url


def http_proxy(proxy: SecretStr | None) -> SecretStr | None:
    """Gives the address of an outbound proxy as it is; raises ValueError where it can be none."""
    if proxy is not None and urlsplit(proxy_url(proxy.get_secret_value())).scheme not in {"http", "https"}:
        raise ValueError("write it as http://HOST:PORT")
    return proxy


_SHORTEST_TOKEN = 16


def check_token(token: str) -> None:
    """Raises ValueError where `token` is none for clients: too easily guessed, or not to be sent by every kind of authentication."""
    if len(token) < _SHORTEST_TOKEN:
        raise ValueError(f"a token has at least {_SHORTEST_TOKEN} characters; `openssl rand -hex 24` makes one")
    if ":" in token or not all("!" <= letter <= "~" for letter in token):
        raise ValueError("a token holds letters, digits and signs of ASCII, but no space and no colon; `openssl rand -hex 24` makes one")
