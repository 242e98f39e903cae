"""Compares what HEAD promised with what GET gives: some files to see whether HEAD lies, and all that it promised once it does."""

from collections.abc import Iterator
from itertools import islice

from proxy.core.page import File, Page
from proxy.core.verdict.budget import BUDGETS, Confirmed
from proxy.core.verdict.plan import CONFIRMED_OF_PLATFORM, resolver_picks
from proxy.core.verdict.proof import platform_tag
from proxy.index.project import Project
from proxy.index.verification import Verifier
from proxy.upstream import Mirror

_LOOKED_AT = 2000
"""Files of a page among which some are chosen to be compared."""


class Comparison:
    """Compares HEAD with GET for the files of a page, when nobody waits for that."""

    def __init__(self, mirror: Mirror, verifier: Verifier) -> None:
        self._mirror = mirror
        self._verifier = verifier

    async def compare(self, project: Project, page: Page, most: int | None) -> bool:
        """Ask by GET for files of `page` that HEAD alone answered for, at most so many of them; return whether any was asked about."""
        head, alone = self._verifier.head, list(self._of_head_alone(project, page.files))
        if head.lies:
            files = [file for file in alone if head.is_due(project.name, file) or not head.is_denied(project.name, file)][:most]
            await self._verifier.ask(project, files, background=True, believe_head=False)
            return bool(files)
        asked = [file for file in page.files if file.key in project.verdicts and head.is_due(project.name, file)]
        await self._verifier.ask(project, asked, patient=True, believe_head=False)
        sampled: set[str] = set()
        for file in self._of_head_alone(project, islice(self._samples(page), _LOOKED_AT)):
            tag = platform_tag(file)
            if tag in sampled or head.is_denied(project.name, file) or not head.may_sample(file, self._most):
                continue
            if not head.is_asked or self._verifier.in_vain(project.who) or self._mirror.breaker_open:
                break
            # One after the other: one that is refused is the last.
            sampled.add(tag)
            await self._verifier.ask(project, [file], patient=True, believe_head=False)
        return bool(asked or sampled)

    @property
    def _most(self) -> int:
        return 1 if self._reads_only else CONFIRMED_OF_PLATFORM

    @property
    def _reads_only(self) -> bool:
        return BUDGETS[self._mirror.kind].confirmed is Confirmed.READ

    def _samples(self, page: Page) -> Iterator[File]:
        """Yield the files to choose from, the newest first; if a GET may have the mirror fetch the whole file, those that are read."""
        for release in page.releases:
            yield from resolver_picks(release) if self._reads_only else release.files

    @staticmethod
    def _of_head_alone(project: Project, files: Iterator[File] | tuple[File, ...]) -> Iterator[File]:
        verdicts = project.verdicts
        return (file for file in files if (verdict := verdicts.get(file.key)) is not None and verdict.rests_on_head)
