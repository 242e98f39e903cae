"""Find one small text in an archive that may be anything: METADATA in a wheel, PKG-INFO in an sdist.

`zipfile` and `tarfile` make an object of every member before they give one out, and a few kilobytes can claim a hundred thousand members.
Here members are passed over without being made, and everything has a bound.
"""

from proxy.core.archives.partial_file import MissingPart, PartialFile
from proxy.core.archives.sdist import find_pkg_info
from proxy.core.archives.wheel import BEFORE_LIMIT, Entry, UnsoundArchive, find_metadata, read_directory, read_entry

__all__ = [
    "BEFORE_LIMIT",
    "Entry",
    "MissingPart",
    "PartialFile",
    "UnsoundArchive",
    "find_metadata",
    "find_pkg_info",
    "read_directory",
    "read_entry",
]
