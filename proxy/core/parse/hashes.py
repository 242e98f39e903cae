"""Hashes as clients accept them: lower-case hexadecimal of the right length; a wrong one would make uv refuse the whole page."""

import re
from collections.abc import Mapping, Sequence

from proxy.core.letters import Letters
from proxy.core.page import Sha256

_LENGTHS = {"md5": 32, "sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128, "blake2b": 64}
"""Digits of a digest. BLAKE2b has several lengths: this is the one of PyPI, and the only one that uv takes."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEXADECIMAL_DIGITS = Letters("0123456789abcdef")
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
_IN_FRAGMENT = re.compile(r"(?:^|&)([a-z0-9_]+)[=-]([0-9A-Fa-f]+)(?=&|$)")


def are_digests(texts: Sequence[str]) -> bool:
    """Whether all of the `texts` are lower-case hexadecimal: told for thousands at one go."""
    return _HEXADECIMAL_DIGITS.make("".join(texts))


def sound_hashes(given: object) -> dict[str, str]:
    """Gives those of the `given` hashes that can be right; of an algorithm unknown here, any hexadecimal digest can."""
    if not isinstance(given, Mapping):
        return {}
    if len(given) == 1 and isinstance(only := given.get("sha256"), str) and _SHA256.fullmatch(only):
        return {"sha256": only}
    found = {}
    for name, digest in given.items():
        if isinstance(name, str) and isinstance(digest, str):
            lowered = digest.lower()
            if _HEXADECIMAL.fullmatch(lowered) and len(lowered) == _LENGTHS.get(name, len(lowered)):
                found[name] = lowered
    return found


def hashes_in_fragment(fragment: str) -> dict[str, str]:
    """Gives the hashes in a URL's fragment (PEP 503), also those written with a dash for the equals sign, as some mirrors do."""
    return sound_hashes(dict(_IN_FRAGMENT.findall(fragment)))


def core_metadata(given: object) -> bool | Sha256 | None:
    """Gives what a page says of a file's core metadata (PEP 658, 714): its hash, whether there is any, or nothing."""
    if isinstance(given, bool) or given is None:
        return given
    hashes = hashes_in_fragment(given) if isinstance(given, str) else sound_hashes(given)
    if "sha256" in hashes:
        return Sha256(hashes["sha256"])
    return bool(hashes) or not isinstance(given, str) or given.strip().lower() == "true"
