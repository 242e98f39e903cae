"""Faults of entries of pages: names that stand twice, odd links, odd hashes, and what is no distribution file."""

from hashlib import sha256

from tests.faults import status, wrong_type
from tests.listing import content_by_name
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


@row(
    31, "an empty, maintenance, quota or login page with status 200", "is an error that says so: only what looks like an index page is one"
)
async def test_31_a_page_that_is_no_index(mirror: BrokenMirror, site: MakeSite) -> None:
    proxied = await site()
    for number, body in enumerate((b"", b"<html><body><p>Back at noon.</p></body></html>", b"<title>Quota exceeded</title>")):
        mirror.set_page(f"demo{number}", body)
        assert (await proxied.problem(f"/simple/demo{number}/"))["status"] == 502


@row(
    35,
    "`%2F` or a slash at the end of a link, raw spaces, escaped fragments",
    "takes the name from the decoded path, asks for the address as it is",
)
async def test_35_odd_links(mirror: BrokenMirror, site: MakeSite) -> None:
    data = content_by_name(OLD)
    for link in (f"a%2F{OLD}", f"{OLD}/", f"b c/{OLD}", f"{OLD}#sha256%3D{sha256(data).hexdigest()}"):
        mirror.set_page("demo", f'<a href="{PATH}{link}">x</a>'.encode())
        proxied = await site()
        (file,) = (await proxied.page())["files"]
        assert file["filename"] == OLD
        mirror.forget()
        await proxied.get(f"/simple/demo/{file['url']}")
        asked = {each.path.rpartition("/packages/packages/")[2] for each in mirror.asked}
        assert asked == {link.partition("#")[0].replace(" ", "%20")}
    assert file["hashes"] == {"sha256": sha256(data).hexdigest()}


@row(
    36,
    "a folder instead of a page: empty, refused, or with `index.html` in it",
    "is an empty project; the page inside is found, and remembered",
)
async def test_36_folders(mirror: BrokenMirror, site: MakeSite) -> None:
    mirror.add(OLD, path=OLD)
    listing = '<title>Index of /</title><h1>Index of /</h1><a href="../">../</a>'
    mirror.set_page("empty", listing.encode())
    mirror.set_page("listed", f'{listing}<a href="index.html">index.html</a>'.encode())
    mirror.fault("page:refused", status(403))
    mirror.fault("index.html", wrong_type(f'<a href="{PATH}{OLD}">x</a>'.encode()))
    assert await (await site()).names("empty") == []
    for name in ("listed", "refused"):
        assert await (await site()).names(name) == [OLD]


@row(37, "`data-upload-time` and `data-size` in HTML, as PyTorch's index has them", "keeps both in either form: `exclude-newer` works")
async def test_37_upload_times_in_html(mirror: BrokenMirror, site: MakeSite) -> None:
    mirror.add(OLD, path=OLD)
    mirror.set_page("demo", f'<a href="{PATH}{OLD}" data-upload-time="2024-01-02T03:04:05Z" data-size="9">x</a>'.encode())
    proxied = await site()
    (file,) = (await proxied.page())["files"]
    assert (file["upload-time"], file["size"]) == ("2024-01-02T03:04:05Z", 9)
    assert (await proxied.lock(exclude_newer="2024-06-01T00:00:00Z")).packages == {"demo": "1.0"}


@row(
    38,
    "links that are no distribution: variants, signatures, old archives, `git+https`",
    "lists and serves them as they are; counts what it leaves out",
)
async def test_38_links_that_are_no_distribution(mirror: BrokenMirror, site: MakeSite) -> None:
    names = ["demo-1.0-variants.json", "demo-1.0.tbz", "demo-1.0.tar.zst", "demo-1.0.tar.gz.asc"]
    for name in names:
        mirror.add(name, b"x", project="demo", path=name)
    links = [*(PATH + name for name in names), "git+https://git.example.com/demo@v1#egg=demo-1.0", "about.html"]
    mirror.set_page("demo", "".join(f'<a href="{link}">x</a>' for link in links).encode())
    proxied = await site()
    assert await proxied.names() == names
    _, headers, body = await proxied.get("/simple/demo/", Accept="text/html")
    assert b'href="git+https://git.example.com/demo@v1#egg=demo-1.0"' in body
    assert headers["mirrormend-skipped"] == "1"


@row(39, "hash names that nobody knows, in fragments and JSON; several in one", "gives those that clients know, SHA-256 first")
async def test_39_unknown_hashes(mirror: BrokenMirror, site: MakeSite) -> None:
    digest = sha256(content_by_name(OLD)).hexdigest()
    mirror.add(OLD, hashes={"blake2b_256": "0" * 64, "crc32": "0" * 8, "sha256": digest})
    assert (await (await site()).page())["files"][0]["hashes"] == {"sha256": digest}
    mirror.set_page("demo", f'<a href="{PATH}{OLD}#blake2={"0" * 64}&amp;md5={"0" * 32}&amp;sha256={digest}">x</a>'.encode())
    assert (await (await site()).page())["files"][0]["hashes"] == {"sha256": digest, "md5": "0" * 32}
