"""Making a `File` out of what a page says of it, whatever its form."""

from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.core.page import File, Fragment, Sha256

_encode = msgspec.json.Encoder().encode


def make_file(filename: str, url: str, hashes: Mapping[str, str], rest: Mapping[str, object], **known: Any) -> File:
    """Gives a file with what is `known` of it, and the `rest` to pass on; `url` is absolute and `hashes` sound."""
    if len(hashes) == 1 and "sha256" in hashes:
        return File(filename, url, fragment(rest) or None, only_hash=Sha256(hashes["sha256"]), **known)
    return File(filename, url, fragment({"hashes": hashes, **rest}), **known)


def fragment(fields: Mapping[str, object]) -> Fragment:
    """Gives the JSON of an object without its braces."""
    return Fragment(_encode(fields)[1:-1])
