"""What handlers find at hand: the index of the mirror that the address names, who asks, and the facts of the request's log line."""

from typing import Any

from aiohttp import web

from proxy.core.errors import NoSuchMirror
from proxy.core.identity import SHARED, Identity
from proxy.index import Index
from proxy.server.generations import Generation, Generations
from proxy.server.resetting import reset

INDEXES = web.AppKey("indexes", dict[str, Index])
"""Those that new requests have, by the names of their mirrors."""
GENERATIONS = web.AppKey("generations", Generations)
SECRET = web.AppKey("secret", bytes)
FACTS = web.RequestKey("facts", dict[str, Any])
BEGUN = web.RequestKey("begun", bool)
"""That the head of an answer has left, or is about to."""
SIGNED_IN = web.RequestKey("signed_in", bool)
"""Whether the client signed in at the proxy, so that what it showed for that is for the proxy alone."""
_GENERATION = web.RequestKey("generation", Generation)


def generation_of(request: web.Request) -> Generation:
    """Gives what the settings made that were in force when the request came."""
    generation = request.get(_GENERATION)
    if generation is None:
        generation = request[_GENERATION] = request.app[GENERATIONS].current
    return generation


def index_of(request: web.Request) -> Index:
    """Gives the index of the mirror named in the address, of the first one where none is named; raises NoSuchMirror."""
    indexes = generation_of(request).indexes
    name = request.match_info.get("upstream")
    index = next(iter(indexes.values())) if name is None else indexes.get(name)
    if index is None:
        raise NoSuchMirror(name or "", tuple(indexes))
    if len(indexes) > 1:
        facts_of(request)["mirror"] = index.mirror.name
    return index


def identity_of(request: web.Request) -> Identity:
    """Gives who asks the mirror: the client with its own credentials, or all together, with those of the settings."""
    if SIGNED_IN in request:
        return SHARED
    return Identity.of(request.headers.get("Authorization"), request.app[SECRET])


def key_of(request: web.Request) -> str:
    """Return the key of the file that the address names: its name, before which a twin of others has a mark (`core.twins`)."""
    found = request.match_info
    return f"{found['mark']}/{found['filename']}" if "mark" in found else found["filename"]


def facts_of(request: web.Request) -> dict[str, Any]:
    """Gives the facts that the log line of the request will tell."""
    facts = request.get(FACTS)
    if facts is None:
        facts = request[FACTS] = {}
    return facts


def abort(request: web.Request) -> None:
    """Breaks the client's connection, so that it sees a broken transfer and never takes what it has for the whole."""
    if request.transport is not None:
        reset(request.transport)
