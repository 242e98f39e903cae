"""A fetched page becomes a `Page` without holding up the event loop: in steps, or in a thread where a step would be long."""

import asyncio
from dataclasses import replace

from blake3 import blake3

from proxy.core.page import Page
from proxy.core.parse import parse_page_in_steps
from proxy.index.flights import finished
from proxy.upstream import FetchedPage

_PARSED_INLINE = 256 * 1024


def digest_of(fetched: FetchedPage) -> str:
    """Gives the digest of a page: of its bytes, and of the address that its links are relative to."""
    return blake3(fetched.url.encode()).update(fetched.body).hexdigest()


async def read_page(name: str, fetched: FetchedPage, link_limit: int = 200_000) -> Page:
    """Gives the page of the project with the normalised `name`.

    Raises PageUnreadable where it is none, UpstreamOverLimit where it has more than `link_limit` links.
    """
    steps = parse_page_in_steps(fetched.body, fetched.content_type, fetched.url, name, link_limit=link_limit)
    # The first step of a large page in HTML is one long call, during which the parser leaves the interpreter to others.
    html = not fetched.body[:64].lstrip().startswith(b"{")
    page = await asyncio.to_thread(finished, steps) if html and len(fetched.body) > _PARSED_INLINE else None
    while page is None:
        page = finished(steps)
        await asyncio.sleep(0)
    serial = fetched.headers.get("x-pypi-last-serial", "").strip()
    return replace(page, serial=serial) if serial.isascii() and serial.isdigit() and len(serial) < 20 else page
