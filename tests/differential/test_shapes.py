"""Pages of the shapes that mirrors are known to send: every client sees through the proxy what it sees at the mirror."""

import pytest

from tests.differential.background import InBackground
from tests.differential.more_shapes import MORE_PAGES
from tests.differential.observations import describe
from tests.differential.shapes import PAGES
from tests.differential.templates import PageTemplate


@pytest.mark.parametrize("page", PAGES + MORE_PAGES, ids=lambda page: page.title)
def test_clients_see_through_the_proxy_what_they_see_at_the_mirror(run: InBackground, page: PageTemplate) -> None:
    differences = run.differences(page)
    assert not differences, "\n" + describe(differences)
