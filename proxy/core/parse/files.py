"""The common part of both forms of a page: making a `File` out of what is said of it, and the version of the API."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.core.page import File, Fragment, Sha256

_LATER_MAJOR = re.compile(r"0*(?:[2-9]|[1-9][0-9]+)(?:\.[0-9]+)*", re.ASCII)
_encode = msgspec.json.Encoder().encode


def make_file(filename: str, url: str, hashes: Mapping[str, str], rest: Mapping[str, object], **known: Any) -> File:
    """Gives a file with what is `known` of it, and the `rest` to pass on; `url` is absolute and `hashes` sound."""
    if len(hashes) == 1 and "sha256" in hashes:
        return File(filename, url, fragment(rest) or None, only_hash=Sha256(hashes["sha256"]), **known)
    return File(filename, url, fragment({"hashes": hashes, **rest}), **known)


def fragment(fields: Mapping[str, object]) -> Fragment:
    """Gives the JSON of an object without its braces."""
    return Fragment(_encode(fields)[1:-1])


def is_of_later_major(api_version: str) -> bool:
    """Tell whether a version of the API is one that clients have to refuse (PEP 629); uv passes over one that makes no sense."""
    return _LATER_MAJOR.fullmatch(api_version) is not None
