"""Index pages without files, and what answers in the place of one with status 200."""

import pytest

from proxy.core.errors import PageUnreadable
from proxy.core.parse import index_inside, parse_page

URL = "https://mirror.example.com/simple/demo/"

EMPTY_PAGES = {
    "PyPI, bandersnatch": '<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.3"><title>Links for demo</title>'
    "</head><body><h1>Links for demo</h1></body></html><!--SERIAL 1-->",
    "devpi": "<html><head><title>root/dev: links for demo</title></head><body><h1>root/dev: links for demo</h1></body></html>",
    "Artifactory": '<!DOCTYPE html><html><head><title>Simple Index</title><meta name="api-version" value="2" /></head><body></body></html>',
    "Nexus": '<html lang="en"><head><title>Links for demo</title><meta name="api-version" value="2"/></head>'
    "<body><h1>Links for demo</h1></body></html>",
    "pypiserver": "<html><head><title>Links for demo</title></head><body><h1>Links for demo</h1></body></html>",
    "a heading alone": "<h1>Links for demo</h1>",
    "the name as title": "<html><head><title>Demo</title></head><body></body></html>",
    "nothing but a document": "<html><body></body></html>",
    "marked as quarantined": '<html><head><meta name="pypi:project-status" content="quarantined">'
    "<title>Links for demo</title></head></html>",
    "behind a script of a cache": "<html><title>Links for demo</title><script src=/beacon.js></script></html>",
    "links that lead nowhere": '<h1>Links for demo</h1><a href="">demo-1.0.tar.gz</a><a href="https://demo.example.com/">home</a>',
    "nginx, an empty folder": "<html><head><title>Index of /simple/demo/</title></head><body><h1>Index of /simple/demo/</h1><hr><pre>"
    '<a href="../">../</a></pre><hr></body></html>',
    "Apache, an empty folder": "<title>Index of /simple/demo</title><h1>Index of /simple/demo</h1><table><tr><th><img src=x>"
    "<a href='?C=N;O=D'>Name</a></th></tr><tr><td><a href='/simple/'>Parent Directory</a></td></tr></table>",
    "http.server, an empty folder": "<html><head><title>Directory listing for /simple/demo/</title></head><body><h1>Directory listing for "
    "/simple/demo/</h1><hr><ul></ul><hr></body></html>",
    "a bare listing": '<html><body><a href="../">../</a></body></html>',
}
NO_PAGES = {
    "maintenance": "<html><head><title>We are back soon</title></head><body><p>Maintenance until noon.</p></body></html>",
    "maintenance, with the name": "<html><head><title>demo is down for maintenance</title></head><body></body></html>",
    "a paragraph": "<html><body><p>Please try later</p></body></html>",
    "a way home": '<html><body><h1>Oops</h1><a href="/">Home</a></body></html>',
    "quota": "<html><head><title>Quota exceeded</title></head><body></body></html>",
    "a gateway": "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>",
    "login": "<html><title>Links for you</title><form><input type=password></form></html>",
    "a login that redirects": '<html><head><meta http-equiv="refresh" content="0; url=/login"></head><body></body></html>',
    "an application": "<html><body><div id=root></div><script>start()</script></body></html>",
    "a picture": "<html><body><img src=sorry.png></body></html>",
    "another folder": '<h1>Index of /</h1><a href="../">../</a><a href="logs/">logs/</a>',
    "an index inside": '<h1>Index of /simple/demo/</h1><a href="../">../</a><a href="index.html">index.html</a>',
    "words": "Service temporarily unavailable",
    "nothing": "",
    "an error in JSON": '{"errors": [{"status": 503}]}',
    "an error in JSON with the key of files": '{"errors": [{"status": 503}], "files": []}',
    "JSON without files": '{"meta": {"api-version": "1.0"}, "name": "demo"}',
    "a message": '{"message": "maintenance"}',
}


@pytest.mark.parametrize("name", EMPTY_PAGES)
def test_an_empty_index_page_is_a_project_without_files(name: str) -> None:
    assert parse_page(EMPTY_PAGES[name].encode(), "text/html", URL, "demo").files == ()


@pytest.mark.parametrize("name", NO_PAGES)
def test_what_does_not_look_like_an_index_page_is_unreadable(name: str) -> None:
    with pytest.raises(PageUnreadable):
        parse_page(NO_PAGES[name].encode(), "text/html", URL, "demo")


@pytest.mark.parametrize(
    ("body", "page"),
    [
        (NO_PAGES["an index inside"], "index.html"),
        ('<a href="/simple/">up</a><a href="?C=N">Name</a><a href="./index.htm">index.htm</a>', "index.htm"),
        ('<a href="../">../</a><a href="index.html">i</a><a href="demo-1.0.tar.gz">d</a>', None),
        ('<a href="../">../</a><a href="index.html">i</a><a href="logs/">d</a>', None),
        (EMPTY_PAGES["nginx, an empty folder"], None),
        ('{"files": [], "x": "index.html"}', None),
    ],
)
def test_an_index_inside_of_a_folder_is_found_where_there_is_nothing_else(body: str, page: str | None) -> None:
    assert index_inside(body.encode()) == page
