"""Faults of entries of pages: names that stand twice, odd links, odd hashes, and what is no distribution file."""

from hashlib import sha256

from tests.matrix.names import OLD, MakeSite
from tests.matrix.rows import row
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

PATH = "../../packages/packages/"


@row(25, "one file name twice: merged repositories, flat lists", "gives each entry an address of its own; the same bytes come from either")
async def test_25_one_name_twice(mirror: BrokenMirror, site: MakeSite) -> None:
    one, other = make_wheel(OLD, requires_dist=["one"]), make_wheel(OLD, requires_dist=["other"])
    links = ""
    for folder, delivered, listed in (("a", None, one), ("b", one, one), ("c", other, other)):
        mirror.add(OLD, delivered, project=folder, path=f"{folder}/{OLD}")
        links += f'<a href="{PATH}{folder}/{OLD}#sha256={sha256(listed).hexdigest()}">x</a>'
    mirror.set_page("demo", links.encode())
    proxied = await site()
    found = [await proxied.get(f"/simple/demo/{file['url']}") for file in (await proxied.page())["files"]]
    assert [(status, body) for status, _, body in found] == [(200, one), (200, one), (200, other)]
