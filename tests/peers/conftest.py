"""What the mirrors of this folder stand on."""

from collections.abc import Iterator

import pytest

from tests.peers.origin import Origin


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """An index like PyPI, for the mirrors of one module."""
    with Origin(tmp_path_factory.mktemp("origin")) as index:
        yield index
