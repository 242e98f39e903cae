"""Worlds from Hypothesis."""

from hypothesis import strategies as st

from tests.worlds.drawing import draw_world
from tests.worlds.model import MadeWorld


def worlds(*, most_projects: int = 7, most_releases: int = 5) -> st.SearchStrategy[MadeWorld]:
    """Return a strategy for worlds as `draw_world` draws them; Hypothesis makes the choices, and so finds smaller worlds."""
    return st.randoms(use_true_random=False).map(
        lambda random: draw_world(random, most_projects=most_projects, most_releases=most_releases)
    )
