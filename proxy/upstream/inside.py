"""Index pages inside of folders: static servers that list or refuse a project's folder, and have its page at `index.html` in there."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from proxy.core.errors import PageUnreadable, UpstreamError, UpstreamStatus
from proxy.core.parse import index_inside, parse_page
from proxy.upstream.pages import FetchedPage, NotModified

_log = structlog.get_logger("mirrormend.upstream")

_USUAL = "index.html"
_LOOKS = 3
"""How many folders that are refused with 403 are looked into for a page, until one has any."""

Fetch: TypeAlias = Callable[[str, bool], Awaitable[FetchedPage | NotModified]]
"""Fetches the page at an address; if the second argument is true, with what is known of it and as patiently as any page."""


class PagesInside:
    """Remembers whether one mirror, called `name`, has its pages inside of folders; it does not look unless `looks` says so.

    `page` is what they are called there, empty as long as none was found.
    """

    def __init__(self, name: str, *, looks: bool) -> None:
        self._name = name
        self._left = _LOOKS if looks else 0
        self._looks = looks
        self.page = ""

    def take_over(self, earlier: "PagesInside") -> None:
        """Know from now on what `earlier` learned of the same mirror."""
        self.page = earlier.page

    async def fetch(self, folder: str, project: str, fetch: Fetch, *, own: bool) -> FetchedPage | NotModified:
        """Fetch the page of `project`: the one inside of its `folder` if this mirror has them there, else that of the folder itself.

        `own` says that it is asked for with a client's own credentials: a refusal is about these.
        """
        if self.page:
            try:
                return await fetch(folder + self.page, True)
            except UpstreamStatus as error:
                # Object stores answer 403 for what is not there.
                if error.status not in {403, 404}:
                    raise
        try:
            fetched = await fetch(folder, True)
        except UpstreamStatus as error:
            if error.status != 403 or own or self.page or not self._left:
                raise
            self._left -= 1
            inside = await self._look(folder, _USUAL, project, fetch)
            if inside is None:
                raise
            return inside
        page = index_inside(fetched.body) if self._looks and isinstance(fetched, FetchedPage) else None
        inside = None if page is None else await self._look(folder, page, project, fetch)
        return fetched if inside is None else inside

    async def _look(self, folder: str, page: str, project: str, fetch: Fetch) -> FetchedPage | None:
        try:
            fetched = await fetch(folder + page, False)
            if not isinstance(fetched, FetchedPage):
                return None
            parse_page(fetched.body, fetched.content_type, fetched.url, project)
        except (UpstreamError, PageUnreadable):
            return None
        self.page = page
        _log.info("pages-inside-folders", mirror=self._name, project=project, page=page)
        return fetched
