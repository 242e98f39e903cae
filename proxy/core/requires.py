"""What core metadata says that a resolver will ask for next.

It is a hint of what to fetch ahead and nothing else: a name too many costs the mirror a page, a name too few costs somebody a moment.
"""

import re

from proxy.core.errors import InvalidProjectName
from proxy.core.page import normalised_name

_REQUIRES = re.compile(rb"^Requires-Dist:[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)([^;\r\n]*)(?:;([^\r\n]*))?", re.MULTILINE)
_BELOW = re.compile(rb"""python_(?:full_)?version[ \t]*(<=?)[ \t]*["'](\d{1,4})\.(\d{1,4})""")
_MOST = 60


def required_projects(metadata: bytes, python: tuple[int, int]) -> tuple[str, ...]:
    """Gives the normalised names of the projects that `metadata` requires, as far as a resolver with that `python` or newer asks for them.

    What is required for an extra only is left out (core metadata specification, Requires-Dist; PEP 508).
    """
    names: dict[str, None] = {}
    # The description comes after the first empty line and may hold anything.
    for name, _, marker in _REQUIRES.findall(metadata.replace(b"\r\n", b"\n").partition(b"\n\n")[0]):
        if b"extra" in marker or _is_for_older(marker, python):
            continue
        try:
            names[normalised_name(name.decode("ascii"))] = None
        except InvalidProjectName:
            continue
    return tuple(names)[:_MOST]


def _is_for_older(marker: bytes, python: tuple[int, int]) -> bool:
    if b" or " in marker:
        return False
    bounds = [(sign, (int(major), int(minor))) for sign, major, minor in _BELOW.findall(marker)]
    return any(python > bound or (python == bound and sign == b"<") for sign, bound in bounds)
