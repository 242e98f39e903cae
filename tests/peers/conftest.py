"""What stands behind the mirrors of this folder, and before its clients."""

from collections.abc import Iterator

import pytest

from tests.faults import artifactory_404
from tests.mirror import BrokenMirror
from tests.peers.origin import Origin
from tests.peers.releases import LOSING, REQUIRED, everything


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """An index like PyPI, for the mirrors of one module."""
    with Origin(tmp_path_factory.mktemp("origin")) as index:
        yield index


@pytest.fixture(params=[True, False], ids=["with hashes", "without hashes"])
def losing(mirror: BrokenMirror, request: pytest.FixtureRequest) -> BrokenMirror:
    """A stand-in for Artifactory, for clients: it lists the macOS wheel of `LOSING` and has it not, with or without hashes on its pages."""
    for project in (LOSING.name, REQUIRED):
        for filename, data in everything()[project].items():
            mirror.add(filename, data, hashes=None if request.param else {})
    mirror.fault(LOSING.mac, artifactory_404())
    return mirror
