"""Comparison of what HEAD promised with what GET gives: files that a GET was denied, and all that HEAD promised once it is seen to lie."""

from collections.abc import Callable, Iterable, Iterator

from proxy.core.page import File, Page
from proxy.index.project import Project
from proxy.index.verification import Verifier


class Comparison:
    """Compare HEAD with GET for the files of a page, when nobody waits for that; a mirror whose HEAD broke no promise is asked nothing."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def compare(self, project: Project, page: Page, draw: Callable[[Iterable[File]], Iterator[File]]) -> bool:
        """Ask by GET for files of `page` that HEAD alone answered for, those that `draw` allows; return whether there were any."""
        head = self._verifier.head
        if head.lies:
            alone = self._of_head_alone(project, page)
            files = [file for file in alone if head.is_due(project.name, file) or not head.is_denied(project.name, file)]
            await self._verifier.ask(project, draw(files), background=True, believe_head=False)
        else:
            files = [file for file in page.files if file.key in project.verdicts and head.is_due(project.name, file)]
            await self._verifier.ask(project, draw(files), patient=True, believe_head=False)
        return bool(files)

    @staticmethod
    def _of_head_alone(project: Project, page: Page) -> Iterator[File]:
        verdicts = project.verdicts
        return (file for file in page.files if (verdict := verdicts.get(file.key)) is not None and verdict.rests_on_head)
