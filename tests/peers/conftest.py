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


@pytest.fixture
def losing(mirror: BrokenMirror) -> BrokenMirror:
    """A stand-in for Artifactory, for clients: it lists the macOS wheel of `LOSING` and has it not."""
    return _filled(mirror, hashes=True)


@pytest.fixture
def losing_without_hashes(mirror: BrokenMirror) -> BrokenMirror:
    """The same, and its pages tell no hashes."""
    return _filled(mirror, hashes=False)


def _filled(mirror: BrokenMirror, *, hashes: bool) -> BrokenMirror:
    for project in (LOSING.name, REQUIRED):
        for filename, data in everything()[project].items():
            mirror.add(filename, data, hashes=None if hashes else {})
    mirror.fault(LOSING.mac, artifactory_404())
    return mirror
