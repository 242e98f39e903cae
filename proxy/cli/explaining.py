"""`mirrormend explain`: what is known of one file, asked of the mirror itself or of a proxy that runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import click
import msgspec

from proxy.audit import Survey
from proxy.audit.curl import curl_line
from proxy.audit.explaining import LookedAt, look_at, project_of, status_of
from proxy.audit.formats.as_json import exchange_data
from proxy.cli.progress import Telling
from proxy.cli.running import begin_command, begin_without_settings, for_mirror, quiet_log, run_loop, settings_for
from proxy.config import Settings
from proxy.config.complaints import on_one_line
from proxy.core.page import normalised_name
from proxy.index.explaining import moment
from proxy.upstream.addresses import shown
from proxy.upstream.route import options_of_environment

_PATIENCE = 60.0
"""Seconds after which a proxy is given up; it may have to fetch a page first."""


def run_explain(
    config: Path | None,
    options: Mapping[str, str | None],
    filename: str,
    *,
    project: str | None,
    proxy: str | None,
    mirror: str | None,
    form: str,
) -> int:
    """Tells about the file; gives 0 where clients see it and nothing is known against it, 1 where not, 2 where nothing could be learned.

    Raises MirrormendError for what the user wrote.
    """
    name = project_of(filename) if project is None else normalised_name(project)
    if proxy is not None:
        begin_without_settings()
        told = run_loop(_from_proxy(proxy, name, filename))
        looked = LookedAt(told)
    else:
        # Somebody waits for the answer, whatever it is: what fails in passing is told as it is.
        settings = for_mirror(settings_for(config, options), mirror, retries=0)
        begin_command(settings, quiet_log(settings, options.get("log_level")))
        looked = run_loop(_live(settings, name, filename))
    if looked.told is None:
        raise click.UsageError(looked.failure.says if looked.failure is not None else "the mirror gave no page; try again")
    if form == "json":
        metadata = None if looked.metadata is None else looked.metadata.says
        data = {**looked.told, "metadata": metadata, "asked": [exchange_data(each) for each in looked.asked]}
        click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())
    else:
        for label, text in _lines(looked.told, looked):
            click.echo(f"{label:<10} {on_one_line(text)}")
    return status_of(looked.told, looked.metadata)


async def _live(settings: Settings, project: str, filename: str) -> LookedAt:
    async with Survey(settings, Telling("explaining", quiet=True)) as survey:
        return await look_at(survey, project, filename)


async def _from_proxy(proxy: str, project: str, filename: str) -> dict[str, Any]:
    if urlsplit(proxy).scheme not in {"http", "https"}:
        raise click.UsageError("--proxy: write the address of the proxy, such as http://127.0.0.1:8080")
    base = proxy.rstrip("/").removesuffix("/simple")
    url = f"{base}/explain/{quote(project)}/{quote(filename)}"
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, **options_of_environment(url)) as response:
            body = await response.read()
            status = response.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        why = str(error) or "no answer in time"
        raise click.UsageError(f"the proxy at {shown(base)} cannot be asked ({why}); check that it runs there") from error
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        told = None
    if status == 200 and isinstance(told, dict) and "standing" in told:
        return told
    detail = told.get("detail", "") if isinstance(told, dict) else ""
    raise click.UsageError(f"the proxy at {shown(base)} answered {status}{f': {detail}' if detail else '; is it mirrormend?'}")


def _lines(told: dict[str, Any], looked: LookedAt) -> Iterator[tuple[str, str]]:
    yield "file", told["filename"]
    yield "project", told["project"] + (f", release {told['release']}" if told["release"] else "")
    yield "mirror", told["mirror"]
    file, verdict = told["file"], told["verdict"]
    if file is not None:
        yield "page says", _of_page(file)
    for exchange in looked.asked:
        answer = exchange.trouble if exchange.status is None else str(exchange.status)
        headers = "".join(f", {name}: {value}" for name, value in exchange.headers.items())
        yield "asked", f"{exchange.asked} at {moment(exchange.at)}: {answer}{headers}"
        yield "repeat", curl_line(exchange)
    if looked.metadata_asked:
        yield "metadata", "can be had" if looked.metadata is None else looked.metadata.says
    if verdict is not None:
        yield "verdict", f"{verdict['kind']} ({verdict['cause']}) since {verdict['since']}, last asked at {verdict['checked']}"
    if told["last_good"]:
        yield "witness", f"the mirror delivered a file at {told['last_good']}"
    if told["storm"]:
        yield "storm", "files known to be good fail: nothing is dropped until the mirror delivers again"
    if told["nearest"]:
        yield "nearest", ", ".join(told["nearest"])
    but = "" if looked.metadata is None else f", but {looked.metadata.says}"
    yield "listed", f"{'yes' if told['listed'] else 'no'}: {told['says']}{but}"


def _of_page(file: dict[str, Any]) -> str:
    parts = [file["url"]]
    parts += [f"{file['size']} bytes"] if file["size"] is not None else []
    parts += [f"{name} {digest}" for name, digest in file["hashes"].items()]
    parts += [f"requires-python {file['requires_python']}"] if file["requires_python"] else []
    parts += [f"uploaded {file['upload_time']}"] if file["upload_time"] else []
    parts += ["core metadata advertised"] if file["core_metadata"] else []
    if file["yanked"]:
        parts.append("yanked" if file["yanked"] is True else f"yanked: {file['yanked']}")
    return ", ".join(parts)
