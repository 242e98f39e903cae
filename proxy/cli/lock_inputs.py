"""The mirror as locks may name it: from the settings and the command line."""

from collections.abc import Sequence

import click

from proxy.audit.inputs import KnownMirror
from proxy.config import Settings
from proxy.core.index_urls import comparable_url


def known_mirror(settings: Settings, name: str | None, lock_indexes: Sequence[str]) -> KnownMirror:
    """Return the mirror called `name`, or the first, among those of the settings; the name must be one of theirs.

    `lock_indexes` are the indexes whose packages it has, as the user says. Raises click.UsageError where one is no address.
    """
    if any(comparable_url(each) is None for each in lock_indexes):
        raise click.UsageError(
            "--lock-index is no address of an index; write it as the lock does, such as https://index.example.com/simple/"
        )
    chosen = next(each for each in settings.upstream if name in {None, each.name})
    others = {each.name: each.url for each in settings.upstream if each is not chosen}
    return KnownMirror(chosen.url, chosen.name, chosen is settings.upstream[0], others, tuple(lock_indexes))
