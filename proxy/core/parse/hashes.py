"""Hashes as clients accept them: lower-case hexadecimal of the right length; a wrong one would make uv refuse the whole page."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from proxy.core.letters import Letters
from proxy.core.page import Sha256

_LENGTHS = {
    "sha256": 64,
    "sha512": 128,
    "sha384": 96,
    "sha224": 56,
    "sha1": 40,
    "md5": 32,
    "sha3_224": 56,
    "sha3_256": 64,
    "sha3_384": 96,
    "sha3_512": 128,
    "blake2s": 64,
    "blake2b": 64,
}
"""Digits of a digest, of all algorithms that `hashlib` guarantees and whose digests have one length, the one to name first in front.

pip asks `hashlib` for each name in a JSON page, and fails on one that it does not know, such as `blake2b_256`.
BLAKE2b has several lengths: this is the one of PyPI, and the only one that uv takes.
"""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEXADECIMAL_DIGITS = Letters("0123456789abcdef")
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
_IN_FRAGMENT = re.compile(r"(?:^|[&#])([a-z0-9_]+)[=-]([0-9A-Fa-f]+)(?=[&#]|$)")
_READ_BY_PIP = re.compile(r"(?:^|[&#])(egg=[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|subdirectory=[!-%'-~]+)(?=&|$)")
"""An `egg` that is no project name makes pip give up; what is written otherwise it does not read."""


READ_BY_UV = ("md5", "sha256", "sha384", "sha512", "blake2b")
"""The names of hashes that uv knows, in its order; it passes over others."""


def is_digest(name: str, digest: str) -> bool:
    """Tell whether `digest` can be one of the hash of that `name`, in either case of letters; true for a name that nobody here knows."""
    length = _LENGTHS.get(name)
    return length is None or (len(digest) == length and _HEXADECIMAL.fullmatch(digest.lower()) is not None)


def are_digests(texts: Sequence[str]) -> bool:
    """Whether all of the `texts` are lower-case hexadecimal: told for thousands at one go."""
    return _HEXADECIMAL_DIGITS.make("".join(texts))


def sound_hashes(given: object) -> dict[str, str]:
    """Return those of the `given` hashes that can be right and that clients know by their names, SHA-256 first."""
    if not isinstance(given, Mapping):
        return {}
    if len(given) == 1 and isinstance(only := given.get("sha256"), str) and _SHA256.fullmatch(only):
        return {"sha256": only}
    found = {}
    for name, length in _LENGTHS.items():
        digest = given.get(name)
        if isinstance(digest, str) and len(digest) == length and _HEXADECIMAL.fullmatch(lowered := digest.lower()):
            found[name] = lowered
    return found


def hashes_in_fragment(fragment: str) -> dict[str, str]:
    """Return the hashes in a URL's fragment (PEP 503), also with a dash or an escape for the equals sign, as some mirrors write it."""
    if fragment.startswith("sha256=") and _SHA256.fullmatch(fragment, 7):
        return {"sha256": fragment[7:]}
    return sound_hashes(dict(_IN_FRAGMENT.findall(unquote(fragment))))


def read_by_pip(fragment: str) -> str:
    """Return what pip reads in a URL's fragment besides hashes: `egg` and `subdirectory`, as they are written."""
    return "&".join(_READ_BY_PIP.findall(fragment))


def is_advertisement(text: str) -> bool:
    """True if uv reads `text` in an attribute of HTML as that there is core metadata: `true`, or one hash that it knows."""
    name, _, digest = text.partition("=")
    return text == "true" or (name in READ_BY_UV and is_digest(name, digest))


def core_metadata(given: object) -> bool | Sha256 | None:
    """Gives what a page says of a file's core metadata (PEP 658, 714): its hash, whether there is any, or nothing."""
    if isinstance(given, bool) or given is None:
        return given
    hashes = hashes_in_fragment(given) if isinstance(given, str) else sound_hashes(given)
    if "sha256" in hashes:
        return Sha256(hashes["sha256"])
    return bool(hashes) or not isinstance(given, str) or "=" in given or given.strip().lower() == "true"
