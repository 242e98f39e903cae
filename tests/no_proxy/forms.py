"""The forms that entries of NO_PROXY have, and what curl, uv and mirrormend do with each; `python -m tests.no_proxy` writes it down.

Nothing here leaves loopback. curl is told where names lead (--connect-to). uv asks the resolver, so its names have a label of 64
letters, which no DNS message can hold (RFC 1035, section 2.3.4): it fails before a query is sent.
"""

import asyncio
import itertools
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.upstream.no_proxy import Exemptions
from proxy.upstream.route import ProxyVariables
from tests.clients import Completed, Uv, clean_environment, run_command
from tests.edge.dialling import answer
from tests.edge.scripted import Server, always, serving

V4, V6, MAPPED, NAME, LOCAL = "127.0.0.1", "::1", "::ffff:127.0.0.1", "mirror.corp.example", "localhost"
PORT = "8080"
"""The port of the mirror, as the document has it. Real programs are given the one that is listened at."""

_UNSENDABLE = "x" * 64
_AT_ONCE = 4
_CURL_CANNOT_CONNECT = 7

WISH = "neither does; this is the only thing that it can mean"
PYTHON = "Python's rule, by which mirrormend went before"
AS_CURL = "as curl"
AS_UV = "as uv"
NOT_UNDERSTOOD = "not understood"


@dataclass(frozen=True)
class Form:
    """A value of NO_PROXY and the host that is asked for; `why` tells why mirrormend does not do what both do, or which it follows."""

    value: str
    host: str
    why: str = ""


FORMS = (
    Form("mirror.corp.example", NAME),
    Form("corp.example", NAME),
    Form(".corp.example", NAME),
    Form(".mirror.corp.example", NAME),
    Form("*.corp.example", NAME, WISH),
    Form("*.mirror.corp.example", NAME, WISH),
    Form("..corp.example", NAME, PYTHON),
    Form("example", NAME),
    Form("CORP.Example", NAME),
    Form("corp.example.", NAME, AS_CURL),
    Form("orp.example", NAME),
    Form("*corp.example", NAME, NOT_UNDERSTOOD),
    Form("mirror.*.example", NAME, NOT_UNDERSTOOD),
    Form("corp.example:8080", NAME, PYTHON),
    Form("*.corp.example:8080", NAME, WISH),
    Form("corp.example:9", NAME),
    Form("corp.example:https", NAME, NOT_UNDERSTOOD),
    Form("http://corp.example", NAME, NOT_UNDERSTOOD),
    Form("corp.example/", NAME, NOT_UNDERSTOOD),
    Form('"corp.example"', NAME, NOT_UNDERSTOOD),
    Form("bücher.example", "mirror.xn--bcher-kva.example", WISH),
    Form("xn--bcher-kva.example", "mirror.xn--bcher-kva.example"),
    Form("localhost", LOCAL),
    Form("localhost", V4),
    Form("<local>", LOCAL, NOT_UNDERSTOOD),
    Form("*", NAME),
    Form("*", V4, AS_CURL),
    Form("foo,*", NAME, AS_UV),
    Form("foo,*", V4, WISH),
    Form("foo,corp.example", NAME),
    Form("foo, corp.example", NAME),
    Form("foo corp.example", NAME, AS_CURL),
    Form("foo;corp.example", NAME, NOT_UNDERSTOOD),
    Form("foo|corp.example", NAME, NOT_UNDERSTOOD),
    Form(",,corp.example,", NAME),
    Form("127.0.0.1", V4),
    Form("127.0.0.1.", V4, WISH),
    Form("127.0.0.1", MAPPED, "the same host"),
    Form("127.0.0.1", LOCAL),
    Form("127.0.0.1:8080", V4, PYTHON),
    Form("127.0.0.1:9", V4),
    Form("127.0.0.0/8", V4),
    Form("127.0.0.1/8", V4),
    Form("127.0.0.1/32", V4),
    Form("0.0.0.0/0", V4, AS_UV),
    Form("127.0.0.0/8", MAPPED, "the same host"),
    Form("127.0.0.0/8", LOCAL),
    Form("127.0.0.0/255.0.0.0", V4, WISH),
    Form("127.0.0.0/33", V4, NOT_UNDERSTOOD),
    Form("127/8", V4, NOT_UNDERSTOOD),
    Form("127.", V4, NOT_UNDERSTOOD),
    Form("127.*", V4, NOT_UNDERSTOOD),
    Form("0.1", V4, NOT_UNDERSTOOD),
    Form("::1", V6),
    Form("[::1]", V6, WISH),
    Form("[::1]:8080", V6, PYTHON),
    Form("0:0:0:0:0:0:0:1", V6, AS_UV),
    Form("0000::0001", V6, AS_UV),
    Form("::1/128", V6, AS_UV),
    Form("::/8", V6, AS_UV),
    Form("[::]/8", V6, WISH),
    Form("[::/8]", V6, WISH),
    Form("::ffff:127.0.0.1", MAPPED),
    Form("::ffff:7f00:1", MAPPED, AS_UV),
    Form("::ffff:127.0.0.1", V4, "the same host"),
)

FIRST, SECOND, DIRECT = "first", "second", "direct"


@dataclass(frozen=True)
class Variables:
    """Variables of which two name different proxies, or exempt the host or not."""

    values: Mapping[str, str]
    why: str = ""


VARIABLES = (
    Variables({"http_proxy": FIRST, "HTTP_PROXY": SECOND}, AS_CURL),
    Variables({"http_proxy": "", "HTTP_PROXY": SECOND}, AS_CURL),
    Variables({"HTTP_PROXY": SECOND}, AS_UV),
    Variables({"HTTP_PROXY": SECOND, "REQUEST_METHOD": "GET"}),
    Variables({"http_proxy": FIRST, "REQUEST_METHOD": "GET"}, AS_CURL),
    Variables({"all_proxy": FIRST, "ALL_PROXY": SECOND}, AS_CURL),
    Variables({"all_proxy": "", "ALL_PROXY": SECOND}, PYTHON),
    Variables({"http_proxy": "", "all_proxy": SECOND}),
    Variables({"http_proxy": FIRST, "all_proxy": SECOND}),
    Variables({"Http_Proxy": FIRST}),
    Variables({"http_proxy": FIRST, "no_proxy": V4, "NO_PROXY": "foo"}, AS_CURL),
    Variables({"http_proxy": FIRST, "no_proxy": "foo", "NO_PROXY": V4}, AS_CURL),
    Variables({"http_proxy": FIRST, "no_proxy": "", "NO_PROXY": V4}),
)


@dataclass(frozen=True)
class Row:
    """What curl, uv and mirrormend do."""

    curl: str
    uv: str
    mirrormend: str


class Programs:
    """Real curl and uv, and on loopback two proxies and the host that they ask for."""

    def __init__(self, folder: Path, proxies: tuple[Server, Server], target: Server) -> None:
        self._uv = Uv(folder)
        self._folder = folder
        self._proxies = dict(zip((FIRST, SECOND), proxies, strict=True))
        self._target = target
        self._numbers = itertools.count(1)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def _environment(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return the variables with the ports and the addresses of the servers in them."""
        port = str(self._target.port)
        return {
            name: self._proxies[value].url("") if value in self._proxies else value.replace(PORT, port) for name, value in values.items()
        }

    def _url(self, host: str) -> tuple[str, str]:
        path = f"/{next(self._numbers)}/"
        return path, f"http://{f'[{host}]' if ':' in host else host}:{self._target.port}{path}"

    async def versions(self) -> str:
        """Return which curl and uv these are."""
        curl, uv = [
            await run_command([each, "--version"], clean_environment(self._folder), self._folder) for each in ("curl", self._uv.command)
        ]
        return f"curl {curl.stdout.split()[1]} and uv {uv.stdout.split()[1]}"

    async def curl(self, host: str, values: Mapping[str, str]) -> str:
        """Return how curl reaches `host`."""
        path, url = self._url(host)
        known = [] if ":" in host else ["--resolve", f"{host}:{self._target.port}:127.0.0.1"]
        environment = clean_environment(self._folder / "curl-home") | self._environment(values)
        command = ["curl", "--disable", "--silent", "--show-error", "--max-time", "30", *known, url]
        return await self._way(path, command, environment, lambda done: done.returncode == _CURL_CANNOT_CONNECT)

    async def uv(self, host: str, values: Mapping[str, str]) -> str:
        """Return how uv reaches `host`."""
        path, url = self._url(host.replace("mirror", _UNSENDABLE))
        environment = {name: value.replace("mirror", _UNSENDABLE) for name, value in self._environment(values).items()}
        chosen = ["--default-index", url, "--python", sys.executable, "--target", str(self._folder / "nothing")]
        command = [self._uv.command, "pip", "install", "--dry-run", "--no-deps", "--no-cache", *chosen, "demo"]
        environment = self._uv.environment | {"UV_HTTP_RETRIES": "0"} | environment
        return await self._way(path, command, environment, lambda done: url in done.stderr)

    async def _way(self, path: str, command: list[str], environment: Mapping[str, str], tried: Callable[[Completed], bool]) -> str:
        """Return which proxy was asked for `path`, or that none was; `tried` says whether a failure is one to reach the host itself."""
        async with self._slots:
            done = await run_command(command, environment, self._folder)
        asked = [name for name, proxy in self._proxies.items() if _has_seen(proxy, path)]
        if not asked and not _has_seen(self._target, path) and not tried(done):
            raise RuntimeError(f"neither a proxy nor the host was asked: {done}")
        return asked[0] if asked else DIRECT


def _has_seen(server: Server, path: str) -> bool:
    return any(path.encode() in head for head in server.requests)


@asynccontextmanager
async def programs(folder: Path) -> AsyncIterator[Programs]:
    script = always(answer(404, connection="close"))
    async with serving(script) as first, serving(script) as second, serving(script) as target:
        yield Programs(folder, (first, second), target)


async def forms_tried(real: Programs) -> list[Row]:
    """Return what is done with each of FORMS."""

    async def tried(form: Form) -> Row:
        values = {"http_proxy": FIRST, "no_proxy": form.value}
        curl, uv = await asyncio.gather(real.curl(form.host, values), real.uv(form.host, values))
        exemptions = Exemptions.read(form.value)
        mirrormend = DIRECT if exemptions.exempt(form.host, int(PORT)) else "proxy"
        return Row(*(DIRECT if each == DIRECT else "proxy" for each in (curl, uv)), mirrormend)

    return await asyncio.gather(*map(tried, FORMS))


async def variables_tried(real: Programs) -> list[Row]:
    """Return what is done with each of VARIABLES."""
    names = {FIRST: "http://first.example:1", SECOND: "http://second.example:2"}

    async def tried(variables: Variables) -> Row:
        curl, uv = await asyncio.gather(real.curl(V4, variables.values), real.uv(V4, variables.values))
        chosen = ProxyVariables.read({name: names.get(value, value) for name, value in variables.values.items()}).proxy_for(
            "http", V4, int(PORT)
        )
        mirrormend = DIRECT if chosen is None else next(name for name, address in names.items() if address == chosen.address)
        return Row(curl, uv, mirrormend)

    return await asyncio.gather(*map(tried, VARIABLES))


_HEAD = """\
# NO_PROXY, entry by entry

<!-- Made by `python -m tests.no_proxy > docs/no-proxy.md`; change the forms in tests/no_proxy/forms.py instead. -->

If `HTTP_PROXY`, `HTTPS_PROXY` or `ALL_PROXY` name an outbound proxy, `NO_PROXY` lists the hosts that mirrormend reaches without it.
No standard says how that list is written. These tables come from real programs ({versions}),
each run with the value against a proxy that records.

mirrormend goes directly to a host if curl or uv does: your mirror's credentials must not reach a proxy that you meant to leave out.
It also understands some forms that neither of them does. An entry that it does not understand exempts nothing, and you are told so once,
at the start: `serve` logs `no-proxy-entry-not-understood`, other commands say it on standard error. The `proxy` of an upstream in the
settings counts whatever `NO_PROXY` says.

A network covers hosts that the URL names by their address. A name is not resolved to see whether it lies in one, neither by curl
nor by uv nor by mirrormend: list the name.

## Entries

| `NO_PROXY` | host | curl | uv | mirrormend | why |
|---|---|---|---|---|---|
"""

_VARIABLES_HEAD = """
## Variables

Only `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` are read, in lower and in upper case. The mirror is at `http://127.0.0.1:8080/`.

| set | curl | uv | mirrormend | why |
|---|---|---|---|---|
"""


async def document(folder: Path) -> str:
    """Return the text of docs/no-proxy.md; `folder` is for the homes of the programs."""
    async with programs(folder) as real:
        versions, forms, variables = await real.versions(), await forms_tried(real), await variables_tried(real)
    lines = [
        f"| `{form.value.replace('|', chr(92) + '|')}` | `{_shown(form.host)}` | {_cells(row)} | {form.why} |\n"
        for form, row in zip(FORMS, forms, strict=True)
    ]
    more = [
        f"| {', '.join(f'`{name}={value}`' for name, value in each.values.items())} | {_cells(row)} | {each.why} |\n"
        for each, row in zip(VARIABLES, variables, strict=True)
    ]
    return _HEAD.format(versions=versions) + "".join(lines) + _VARIABLES_HEAD + "".join(more)


def _cells(row: Row) -> str:
    return f"{row.curl} | {row.uv} | {row.mirrormend}"


def _shown(host: str) -> str:
    return f"[{host}]:{PORT}" if ":" in host else f"{host}:{PORT}"


def versions(text: str) -> str:
    """Return which curl and uv the document is of."""
    found = re.search(r"curl [^ ]+ and uv [^ )]+", text)
    assert found is not None
    return found[0]
