"""What core metadata says that a resolver will ask for next.

It is a hint of what to fetch ahead and nothing else: a name too many costs the mirror a page, a name too few costs somebody a moment.
"""

import re

from proxy.core.errors import InvalidProjectName
from proxy.core.metadata_headers import MetadataHeaders
from proxy.core.page import normalised_name

_REQUIRES = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)([^;\r\n]*)(?:;([^\r\n]*))?")
_BELOW = re.compile(r"""python_(?:full_)?version[ \t]*(<=?)[ \t]*["'](\d{1,4})\.(\d{1,4})""")
_MOST = 60
_LOOKED_AT = 2000
"""Requirements that are looked at: 60 of them are mostly found much earlier."""


def required_projects(metadata: bytes, python: tuple[int, int]) -> tuple[str, ...]:
    """Gives the normalised names of the projects that `metadata` requires, as far as a resolver with that `python` or newer asks for them.

    What is required for an extra only is left out (core metadata specification, Requires-Dist; PEP 508).
    """
    names: dict[str, None] = {}
    # The description comes after the first empty line and may hold anything.
    for value in MetadataHeaders(metadata).get_all("Requires-Dist", _LOOKED_AT):
        found = _REQUIRES.match(value)
        marker = "" if found is None else found[3] or ""
        if found is None or "extra" in marker or _is_for_older(marker, python):
            continue
        try:
            names[normalised_name(found[1])] = None
        except InvalidProjectName:
            continue
        if len(names) == _MOST:
            break
    return tuple(names)


def _is_for_older(marker: str, python: tuple[int, int]) -> bool:
    if " or " in marker:
        return False
    bounds = [(sign, (int(major), int(minor))) for sign, major, minor in _BELOW.findall(marker)]
    return any(python > bound or (python == bound and sign == "<") for sign, bound in bounds)
