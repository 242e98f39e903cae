"""Pages with files that the mirror lists and does not have: exactly these leave the page, and nothing else changes."""

import random

import pytest

from tests.differential.background import InBackground
from tests.differential.observations import describe
from tests.differential.shapes import FILES, SDIST, WHEEL, anchor, as_json, entry, html, key
from tests.differential.templates import PageTemplate, Template

_TAGS = ("py3-none-any", "cp312-cp312-manylinux_2_28_x86_64", "cp312-cp312-macosx_11_0_arm64", "cp312-cp312-win_amd64")


def _page(seed: int, form: str) -> PageTemplate:
    """Return a page of eight releases; each keeps a file, since the last one of a release is dropped after minutes only."""
    chance = random.Random(seed)  # noqa: S311 - the same page for a seed
    names, dead = [], []
    for version in range(1, 9):
        files = [f"@project@-{version}.0-{tag}.whl" for tag in _TAGS] + [f"@project@-{version}.0.tar.gz"]
        names += files
        dead += chance.sample(files, chance.randint(0, len(files) - 1))
    chance.shuffle(names)
    template: Template = html(*map(anchor, names)) if form == "html" else as_json(*map(entry, names))
    return PageTemplate(f"seed {seed}", (template,), tuple(map(key, dead)))


@pytest.mark.parametrize("form", ["html", "json"])
@pytest.mark.parametrize("seed", range(4))
def test_exactly_the_dead_files_leave_a_page(run: InBackground, seed: int, form: str) -> None:
    page = _page(seed, form)
    assert page.dead
    differences = run.differences_once_settled(page)
    assert not differences, "\n" + describe(differences)


@pytest.mark.parametrize("dead", ["a", "b"])
def test_of_one_name_at_two_addresses_the_one_that_is_dead_leaves_and_the_other_is_delivered(run: InBackground, dead: str) -> None:
    template = html(anchor(WHEEL, f"a/{WHEEL}"), anchor(SDIST), anchor(WHEEL, f"b/{WHEEL}"))
    differences = run.differences_once_settled(PageTemplate(f"{dead} is dead", (template,), (key(f"{dead}/{WHEEL}"),)))
    assert not differences, "\n" + describe(differences)


@pytest.mark.parametrize("dead", ["copy1", "copy2"])
def test_of_one_file_at_two_addresses_one_of_which_is_dead_every_entry_that_stays_leads_to_it(run: InBackground, dead: str) -> None:
    template = html(anchor(WHEEL, f"copy1/{WHEEL}"), anchor(SDIST), anchor(WHEEL, f"copy2/{WHEEL}"))
    page = PageTemplate(f"{dead} is dead", (template,), (f"{FILES}{dead}/{WHEEL}",))
    # The entry of the dead address may stay, in its place before the others: the other address has its bytes.
    differences = [each for each in run.wait(run.started.page(run.listed(page))) if each.kind not in {"entry added", "order"}]
    assert not differences, "\n" + describe(differences)
