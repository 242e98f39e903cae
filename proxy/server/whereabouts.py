"""Handlers that tell where the mirror has what the proxy serves, for locks that are to name the mirror itself.

What is told is what `direct` links tell as well, less user information and queries, in which there may be secrets.
Where the path of the mirror's address may be one too, only who signed in at the proxy is told, or who shows that it knows the address.
"""

import msgspec
from aiohttp import web

from proxy.config import LinkMode
from proxy.core.errors import AddressWithheld
from proxy.core.page import normalised_name
from proxy.index import Index
from proxy.server.context import SIGNED_IN, facts_of, generation_of, identity_of, index_of
from proxy.upstream.addresses import address_digest, shown

KNOWN_HEADER = "Mirrormend-Known-Upstream"
"""Digests of addresses that the client knows, separated by commas."""


async def mirror_of_files(request: web.Request) -> web.Response:
    """Answers `/files/` with the address of the mirror's simple API."""
    index = index_of(request)
    _check(request, index)
    return _told(request, {"upstream": index.mirror.address})


async def files_of_project(request: web.Request) -> web.Response:
    """Answers `/files/<project>/` with the mirror's address of each file that its page lists, dropped or not."""
    index = index_of(request)
    _check(request, index)
    name = normalised_name(request.match_info["project"])
    facts_of(request)["project"] = name
    page = await index.mirror_page(name, identity_of(request))
    # A file that has twins is told by its plain name, which means the first of them, and by the end of its own address.
    files = {key: shown(file.url) for key, file in {**page.by_filename, **page.by_key}.items()}
    return _told(request, {"upstream": index.mirror.address, "project": name, "files": files})


def _check(request: web.Request, index: Index) -> None:
    """Raise AddressWithheld where the mirror's address is not to be told to this client."""
    mirror = index.mirror
    if mirror.url == mirror.address or generation_of(request).links is not LinkMode.PROXY or SIGNED_IN in request:
        return
    if address_digest(mirror.address) not in request.headers.get(KNOWN_HEADER, "").split(","):
        raise AddressWithheld(mirror.url)


def _told(request: web.Request, told: dict[str, object]) -> web.Response:
    facts_of(request)["outcome"] = "whereabouts"
    headers = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
    return web.Response(body=msgspec.json.encode(told), content_type="application/json", headers=headers)
