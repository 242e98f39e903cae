"""Which releases the page of a project waits for: worked out anew only where something changed that decides about it."""

from collections.abc import Callable, Mapping

from proxy.core.page import Page
from proxy.core.requirements import specifiers_on
from proxy.core.verdict.client import ClientPlatform
from proxy.core.verdict.plan import awaited_releases
from proxy.core.verdict.reason import Reason
from proxy.index.project import Project
from proxy.index.requirements_seen import RequirementsSeen


class Awaited:
    """Work it out by the `requirements` that were read; `clock` tells seconds since the epoch."""

    def __init__(self, requirements: RequirementsSeen, clock: Callable[[], float]) -> None:
        self._requirements = requirements
        self._clock = clock

    def of(self, project: Project, page: Page, client: ClientPlatform | None) -> Mapping[str, Reason]:
        """Return the spellings of the releases that `page` waits for and why, the likeliest first."""
        required, demanded = self._requirements.on(project.who, project.name), project.demand.lately(self._clock())
        known, python = project.known, None if client is None else client.python
        decides: tuple[object, ...] = ()
        if known is not None and page is known.page:
            # What is kept holds no page: it may outlast it.
            decides = known.digest, known.filled, required, demanded, client, project.denied_revision
            if project.awaited_for == decides:
                return project.awaited
        specifiers, certain = specifiers_on(required, python), specifiers_on(required, python, certain=True)
        found = awaited_releases(page, project.verdicts, client, specifiers=specifiers, certain=certain, demanded=demanded)
        if decides:
            project.awaited, project.awaited_for = found, decides
        return found
