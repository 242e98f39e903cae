"""The broken mirror: Artifactory's addresses and answers, two made-up projects, and a wheel that is listed and not there."""

from collections.abc import Mapping
from hashlib import sha256
from html import escape

from aiohttp import web

from proxy.demo.wheels import make_wheel

PROJECT = "stormwind"
VERSION = "6.4.2"
DEPENDENT = "weathervane"
"""A project that requires the other one."""

BASE = "/artifactory/api/pypi/pypi"
MISSING = f"{PROJECT}-{VERSION}-cp39-abi3-macosx_10_9_universal2.whl"
"""The first wheel of its release by filename, and so the one that uv reads."""

_PLATFORMS = (
    "macosx_10_9_universal2",
    "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "musllinux_1_2_x86_64",
    "win_amd64",
)


def create_mirror() -> web.Application:
    """Gives the mirror as an application; it answers in HTML only, and without PEP 658 metadata."""
    projects = {
        PROJECT: {name: make_wheel(name) for name in _names("6.4.1", VERSION)},
        DEPENDENT: {name: make_wheel(name, [f"{PROJECT}>=6"]) for name in [f"{DEPENDENT}-1.0-py3-none-any.whl"]},
    }
    pages = {project: _page(project, files) for project, files in projects.items()}
    contents = {_path(project, name): content for project, files in projects.items() for name, content in files.items()}
    del contents[_path(PROJECT, MISSING)]

    async def page(request: web.Request) -> web.Response:
        text = pages.get(request.match_info["project"])
        return _not_found() if text is None else web.Response(text=text, content_type="text/html")

    async def file(request: web.Request) -> web.Response:
        content = contents.get(request.match_info["path"])
        return _not_found() if content is None else web.Response(body=content, content_type="application/octet-stream")

    async def anything_else(_: web.Request) -> web.Response:
        return _not_found()

    app = web.Application()
    app.router.add_get(f"{BASE}/simple/{{project}}/", page)
    app.router.add_get(f"{BASE}/{{path:.+}}", file)
    app.router.add_get("/{path:.*}", anything_else)
    return app


def _names(*versions: str) -> list[str]:
    return [f"{PROJECT}-{version}-cp39-abi3-{platform}.whl" for version in versions for platform in _PLATFORMS]


def _path(project: str, filename: str) -> str:
    return f"{project}/{filename.split('-')[1]}/{filename}"


def _page(project: str, files: Mapping[str, bytes]) -> str:
    anchors = "".join(
        f'<a href="../../{_path(project, name)}#sha256={sha256(content).hexdigest()}" '
        f'data-requires-python="{escape(">=3.9")}">{name}</a><br/>\n'
        for name, content in files.items()
    )
    return f"<!DOCTYPE html>\n<html><head><title>Links for {project}</title></head><body>\n{anchors}</body></html>\n"


def _not_found() -> web.Response:
    # Artifactory 7 says it in these words.
    return web.json_response({"errors": [{"status": 404, "message": "Could not find resource"}]}, status=404)
