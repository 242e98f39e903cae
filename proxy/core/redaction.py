"""The parts of an upstream's address that are told: its origin, and of its path only what can be no secret.

Some services give each customer an address with a token in its path. Whoever knows such a path may use the mirror, so that it is told to
nobody: not in problems, on status pages, in explanations, or in the log.

Rules for this file: pure.
"""

import html
import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_WORDS = "+simple api artifactory content dists files index mirror mirrors nexus packages pip pulp pypi python repository root simple"
WELL_KNOWN = frozenset(_WORDS.split())
"""Words of which the paths of mirrors are made; a path of nothing else holds no secret, and is told as it is."""

ELIDED = "…"
_SHORTEST_SECRET = 6
_LOOKS_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z]).{8,}|.{20,}")
_END = r"(?=[/?#\s\"'<>&,;:)\]}]|$)"


class Redaction:
    """Withholds the paths of these upstreams' `addresses`; `names` are words that are told anyway, as mirrors' names."""

    def __init__(self, addresses: Iterable[str], names: Iterable[str] = ()) -> None:
        harmless = WELL_KNOWN.union(names)
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        for address in addresses:
            self._patterns += _patterns(address, harmless)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def text(self, text: str) -> str:
        """Return `text` without the paths: an address with such a path becomes `https://host/…/rest`."""
        for pattern, instead in self._patterns:
            text = pattern.sub(instead, text)
        return text

    def body(self, body: bytes) -> bytes:
        """Return the UTF-8 `body` of an answer likewise."""
        return self.text(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape") if self._patterns else body


def without_query(text: str, url: str) -> str:
    """Return `text`, in which a mirror may repeat the address `url`, without the query of that address: it may be a signature."""
    query = urlsplit(url).query
    secrets = {query, unquote(query), *(value for _, value in parse_qsl(query) if len(value) >= _SHORTEST_SECRET)}
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, ELIDED)
    return text


def _patterns(address: str, harmless: AbstractSet[str]) -> list[tuple[re.Pattern[str], str]]:
    parts = urlsplit(address)
    segments = [each for each in parts.path.split("/") if each]
    secret = [number for number, each in enumerate(segments) if unquote(each).lower() not in harmless]
    if not secret:
        return []
    spelled = [_spellings(each) for each in segments]
    host = re.escape(parts.hostname or "")
    longest = "".join(f"(?:/{each}" for each in spelled[1:]) + ")?" * (len(spelled) - 1)
    first_secret = "/" + "/".join(spelled[: secret[0] + 1])
    rest = "".join(f"(?:/{each}" for each in spelled[secret[0] + 1 :]) + ")?" * (len(spelled) - secret[0] - 1)
    patterns = [
        # The mirror's own host: however much of the path an address there begins with.
        (re.compile(rf"(?i:(://(?:[^\s/@]*@)?\[?{host}\]?(?::\d+)?))/{spelled[0]}{longest}{_END}"), rf"\1/{ELIDED}"),
        # The same path elsewhere: at another host, or in a sentence of the mirror's own.
        (re.compile(rf"(?:(?<=[^\w/…-])|(?<=^)|(://[^\s/]+)){first_secret}{rest}{_END}"), rf"\1/{ELIDED}"),
    ]
    random = [spelled[number] for number in secret if _LOOKS_RANDOM.fullmatch(segments[number])]
    return patterns + [(re.compile(rf"(?<![\w-]){each}(?![\w-])"), ELIDED) for each in random]


def _spellings(segment: str) -> str:
    plain = unquote(segment)
    ways = {segment, plain, quote(plain, safe=""), quote(plain), html.escape(plain)}
    return f"(?:{'|'.join(re.escape(each) for each in sorted(ways, key=lambda way: (-len(way), way)))})"
