"""Names that the tests of the matrix share."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

JSON = "application/vnd.pypi.simple.v1+json"
MAC = "demo-2.0-cp312-cp312-macosx_11_0_arm64.whl"
LINUX = "demo-2.0-cp312-cp312-manylinux_2_28_x86_64.whl"
OLD = "demo-1.0-py3-none-any.whl"
SDIST = "demo-2.0.tar.gz"
ALL = [OLD, MAC, LINUX, SDIST]

MakeSite: TypeAlias = Callable[..., Awaitable[Any]]
