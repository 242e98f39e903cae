"""Counting what leaves a page, and what comes back: what is new, and not what a restart or a reload shows again."""

from proxy.core.page import Page
from proxy.core.verdict.settle import Dropped, Mended
from proxy.telemetry.counts import MirrorCounts


def count_changes(counts: MirrorCounts, page: Page, before: Mended | None, after: Mended, held_since: float) -> None:
    """Adds to `counts` how the mended form of the mirror's `page` changed since it was served last.

    Where it was not served yet (`before` is None), what was known before the project came into memory at `held_since` is not new.
    """
    if not after.dropped and (before is None or not before.dropped):
        return
    was = set() if before is None else {each.file.key for each in before.dropped}
    left = [each for each in after.dropped if each.file.key not in was]
    lost = set(after.lost) - set(() if before is None else before.lost)
    if before is None:
        touched = {page.release_of(each.file).spelling for each in left if _is_new(each, held_since)}
        left = [
            each for each in left if _is_new(each, held_since) or (each.verdict is None and page.release_of(each.file).spelling in touched)
        ]
        lost &= touched
    counts.dropped.update(each.cause for each in left)
    counts.restored += len(was - {each.file.key for each in after.dropped})
    counts.releases_lost += len(lost)


def _is_new(dropped: Dropped, held_since: float) -> bool:
    return dropped.verdict is not None and dropped.verdict.since >= held_since
