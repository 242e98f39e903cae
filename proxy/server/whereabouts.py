"""Handlers that tell where the mirror has what the proxy serves, for locks that are to name the mirror itself.

What is told is what `direct` links tell as well, less user information and queries, in which there may be secrets.
"""

import msgspec
from aiohttp import web

from proxy.core.page import normalised_name
from proxy.server.context import facts_of, identity_of, index_of
from proxy.upstream.addresses import shown


async def mirror_of_files(request: web.Request) -> web.Response:
    """Answers `/files/` with the address of the mirror's simple API."""
    return _told(request, {"upstream": index_of(request).mirror.url})


async def files_of_project(request: web.Request) -> web.Response:
    """Answers `/files/<project>/` with the mirror's address of each file that its page lists, dropped or not."""
    index = index_of(request)
    name = normalised_name(request.match_info["project"])
    facts_of(request)["project"] = name
    page = await index.mirror_page(name, identity_of(request))
    # A file that has twins is told by its plain name, which means the first of them, and by the end of its own address.
    files = {key: shown(file.url) for key, file in {**page.by_filename, **page.by_key}.items()}
    return _told(request, {"upstream": index.mirror.url, "project": name, "files": files})


def _told(request: web.Request, told: dict[str, object]) -> web.Response:
    facts_of(request)["outcome"] = "whereabouts"
    headers = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
    return web.Response(body=msgspec.json.encode(told), content_type="application/json", headers=headers)
