"""What is known of a project becomes the page that is served, made anew only where what it depends on changed."""

from collections.abc import Callable

from proxy.config import LinkMode
from proxy.core.errors import PageUnreadable
from proxy.core.page import Packaging, Page
from proxy.core.render import LinkMaker, MetadataOffer, proxied_links
from proxy.core.verdict.settle import Mended, Policy, settle
from proxy.index.changes import count_changes
from proxy.index.gate import Gate
from proxy.index.project import KnownPage, Project
from proxy.index.rescue import Rescue
from proxy.index.served import Revision, ServedPage
from proxy.index.verification import Verifier
from proxy.upstream import Mirror


class Serving:
    """Makes the pages of one mirror's projects, with links as `mode` has them; `clock` tells seconds since the epoch."""

    def __init__(
        self,
        mirror: Mirror,
        verifier: Verifier,
        gate: Gate,
        *,
        policy: Policy,
        rescue: Rescue | None,
        mode: LinkMode,
        clock: Callable[[], float],
    ) -> None:
        self._mirror = mirror
        self._verifier = verifier
        self._gate = gate
        self._policy = policy
        self._rescue = rescue
        self._mode = mode
        self._clock = clock

    def mended(self, project: Project, page: Page) -> Mended:
        """Gives what becomes of the mirror's `page` by what is known of the project."""
        rescued = () if self._rescue is None else self._rescue.listed(project, page)
        return settle(page, project.verdicts, self._policy, rescued, by_address=self._mode is LinkMode.DIRECT)

    def mended_now(self, project: Project) -> Mended:
        """Gives what became of the project's page: of what was served, where that is current."""
        served = project.served
        return served.mended if served is not None and self.is_current(project, served) else self.mended(project, known_of(project).page)

    def is_current(self, project: Project, served: ServedPage) -> bool:
        """Whether nothing that `served` depends on has changed since it was made, but for how old it is."""
        return project.known is not None and served.revision == self._revision(project, project.known)

    def serve(self, project: Project) -> ServedPage:
        """Gives the page to serve; raises PageUnreadable where the mirror's page was withdrawn."""
        known = known_of(project)
        stale = None if project.stale_since is None else max(0.0, self._clock() - known.checked)
        served = project.served
        if served is None or not self.is_current(project, served) or stale is not None or served.stale_for is not None:
            mended = self.mended(project, known.page)
            before = None if served is None else served.mended
            count_changes(self._mirror.counts, known.page, before, mended, project.held_since)
            anew = ServedPage(
                mended=mended,
                links=self._links(project),
                metadata=self._offers(project),
                revision=self._revision(project, known),
                complete=mended.unasked == 0,
                private=not project.who.shared,
                storm=self._verifier.storm(project.who),
                stale_for=stale,
            )
            if served is not None:
                anew.inherit(served)
            served = project.served = anew
        return served

    def _revision(self, project: Project, known: KnownPage) -> Revision:
        return project.revision, project.offers, known.digest + known.filled, self._verifier.storm(project.who), self._rescued(project)

    def _rescued(self, project: Project) -> tuple[int, int, bool] | None:
        return None if self._rescue is None else self._rescue.state(project)

    def _links(self, project: Project) -> LinkMaker:
        if self._mode is LinkMode.DIRECT:
            return lambda files: [file.url for file in files]
        return proxied_links(project.name)

    def _offers(self, project: Project) -> MetadataOffer:
        if self._mode is LinkMode.DIRECT:
            copied, unreadable = project.copied, project.unreadable
            return lambda files: [
                file.core_metadata
                if file.key in copied or (file.core_metadata and file.packaging is Packaging.SDIST and file.key not in unreadable)
                else None
                for file in files
            ]
        return self._gate.offers(project)


def known_of(project: Project) -> KnownPage:
    """Gives the mirror's page as it is known; raises PageUnreadable where there is none."""
    if project.known is None:
        raise PageUnreadable(project.name, "", "the mirror's page was withdrawn meanwhile")
    return project.known
