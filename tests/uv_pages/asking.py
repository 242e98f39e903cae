"""Real uv before the pages of `cases`: at a mirror itself and through the proxy; and what `check` says of the same pages."""

import asyncio
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.audit.findings import Exchange, Fault, Finding, Level
from proxy.audit.pages import page_findings
from proxy.core.errors import PageUnreadable
from proxy.core.parse import parse_page
from proxy.core.uv_refusals import Loss
from tests.clients import ProxyProcess, Uv, run_command, write_project
from tests.mirror import BrokenMirror
from tests.uv_pages.cases import Case

NOTHING = "nothing"
_AT_ONCE = 3
_MOMENT = "2024-01-01T00:00:00Z"
_LOCKED = ("hash", "size", "upload-time")


@dataclass(frozen=True)
class Outcome:
    """How `uv lock` ended: the version that it chose, None where it failed, and the words of the lock on that file."""

    version: str | None
    locked: dict[str, Any]
    stderr: str

    def loss(self, case: Case) -> str:
        """Return what the value of the case cost: the page, the file, a value in the lock, or nothing."""
        if self.version != "2.0":
            return str(Loss.PAGE if self.version is None else Loss.FILE)
        # Of the anchors that the mirror writes, none has a size or an upload time.
        said = {"hash", case.field.removeprefix("data-")} if case.html else set(_LOCKED)
        lost = [name for name in _LOCKED if name in said - self.locked.keys()]
        return f"the {', the '.join(lost)}".replace("upload-time", "upload time") if lost else NOTHING


@dataclass(frozen=True)
class Row:
    """What a case costs at the mirror itself, what `check` says of it, and what it costs through the proxy."""

    direct: Outcome
    findings: tuple[Finding, ...]
    proxied: Outcome

    @property
    def accused(self) -> bool:
        """Tell whether `check` calls the page broken."""
        return any(each.level is Level.ERROR for each in self.findings)


async def ask(cases: Sequence[Case], folder: Path, *, proxied: bool = True) -> list[Row]:
    """Return how uv ends with each of the cases, in files below `folder`; without `proxied`, `Row.proxied` is the direct outcome."""
    uv, slots = Uv(folder), asyncio.Semaphore(_AT_ONCE)

    async def outcome(number: int, index_url: str, place: str) -> Outcome:
        name = f"p{number}"
        async with slots:
            project = write_project(folder / place / name, [name])
            done = await uv.lock(project, index_url, "--verbose")
        if not done.ok:
            return Outcome(None, {}, done.stderr)
        packages = tomllib.loads((project / "uv.lock").read_text(encoding="utf-8"))["package"]
        package = next(each for each in packages if each["name"] == name)
        return Outcome(package["version"], package["wheels"][0], done.stderr)

    async with BrokenMirror() as mirror:
        for number, case in enumerate(cases):
            files = [mirror.add(f"p{number}-{version}-py3-none-any.whl", upload_time=_MOMENT) for version in ("1.0", "2.0")]
            mirror.set_page(f"p{number}", case.write(files[0], files[1], f"p{number}"), case.content_type)
        direct = await asyncio.gather(*[outcome(number, mirror.url, "direct") for number in range(len(cases))])
        through = direct
        if proxied:
            uv.fresh_cache()
            async with ProxyProcess(mirror.url, folder) as proxy:
                through = await asyncio.gather(*[outcome(number, proxy.simple, "proxied") for number in range(len(cases))])
        findings = [checked(mirror, f"p{number}") for number in range(len(cases))]
    return [Row(*each) for each in zip(direct, findings, through, strict=True)]


def checked(mirror: BrokenMirror, name: str) -> tuple[Finding, ...]:
    """Return what `check` finds on a page, the files left aside."""
    page = mirror.projects[name].raw
    assert page is not None
    url = mirror.page_url(name)
    try:
        parsed = parse_page(page.body, page.content_type or None, url, name)
    except PageUnreadable as error:
        return (Finding(Level.ERROR, Fault.PAGE_UNREADABLE, name, str(error)),)
    return tuple(page_findings(parsed, page.body, page.content_type or None, Exchange(url, "GET", 200, 0.0)))


async def uv_version(folder: Path) -> str:
    """Return which release of uv this is."""
    done = await run_command([Uv(folder).command, "--version"], Uv(folder).environment, folder)
    return done.stdout.split()[1]
