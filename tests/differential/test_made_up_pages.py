"""Made-up pages, awkward in many ways at once: every client sees through the proxy what it sees at the mirror."""

from hypothesis import given, settings

from tests.differential.background import InBackground
from tests.differential.observations import describe
from tests.differential.strategies import page_templates
from tests.differential.templates import PageTemplate

PAGES = 250


@settings(max_examples=PAGES)
@given(page_templates())
def test_of_any_page_clients_see_through_the_proxy_what_they_see_at_the_mirror(run: InBackground, page: PageTemplate) -> None:
    differences = run.differences(page)
    assert not differences, "\n" + describe(differences) + "\n\n" + "\n\n".join(form.text for form in page.forms)
