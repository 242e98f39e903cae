"""The handler that tells what is known of one file: why it is on the page, or is not."""

import msgspec
from aiohttp import web

from proxy.core.page import normalised_name
from proxy.server.context import facts_of, identity_of, index_of, key_of


async def explained_file(request: web.Request) -> web.Response:
    """Answer `/explain/<project>/<filename>` with what the proxy knows for whoever asks; the mirror is asked for the page at most.

    Before the name of a file that has twins stands a mark; without it, the first of them is meant.
    """
    index = index_of(request)
    name, filename = normalised_name(request.match_info["project"]), request.match_info["filename"]
    key = key_of(request)
    facts_of(request).update(project=name, file=filename, outcome="explanation")
    told = await index.explained(name, key, identity_of(request))
    headers = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
    return web.Response(body=msgspec.json.encode(told), content_type="application/json", headers=headers)
