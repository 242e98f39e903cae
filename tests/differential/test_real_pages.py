"""Real index pages from public test suites, where the folder with them is here: none of them is part of the project."""

import asyncio

import pytest

from tests.differential.commands import of_folder
from tests.differential.external import external_folder
from tests.differential.observations import describe

FOLDER = external_folder("pages")


@pytest.mark.skipif(FOLDER is None, reason="no folder of real pages: neither DIFFERENTIAL_PAGES nor ../shared/pages beside the checkout")
def test_clients_see_through_the_proxy_what_they_see_on_real_pages() -> None:
    assert FOLDER is not None
    pages, differences = asyncio.run(of_folder(FOLDER))
    assert pages > 100
    assert not differences, "\n" + describe(differences)
