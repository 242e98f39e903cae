"""The middleware before all handlers: finds out which client asks, whether it is let in, and whether it is its turn."""

import asyncio
from collections.abc import AsyncIterator

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.config import AccessSection, SettingsError
from proxy.config.sections import CLIENT_ADDRESS_HEADERS
from proxy.core.errors import AccessDenied
from proxy.server.access.accounts import (
    Accounts,
    NamesNobody,
    files_of,
    marks_of,
    read_accounts,
    read_accounts_as_of,
    read_accounts_at_rest,
)
from proxy.server.access.callers import Callers, one_client
from proxy.server.access.cores import usable_cores
from proxy.server.access.doorkeeper import Doorkeeper, Grant
from proxy.server.access.file_watch import AT_REST, Change, FileWatch, Marks
from proxy.server.access.turns import Shares, Turns
from proxy.server.context import SIGNED_IN, facts_of
from proxy.upstream.client import DOWNLOADS

_log = structlog.get_logger("mirrormend.server")

OPEN = frozenset({"/healthz", "/livez", "/readyz"})
"""Paths for orchestrators, without credentials and as often as they like; of the mirrors they tell the names, and whether they answer."""

_CHANGES = web.RequestKey("changes", int)
"""How often the rules had changed when the request came."""
_LOOK_AGAIN = 5.0
_FOR_SHARED_CACHES = ("public", "private", "s-maxage", "proxy-revalidate")


class Admission:
    """Lets requests in as `section` says, in one of so many `workers`; raises SettingsError if its files are not right."""

    def __init__(self, section: AccessSection, *, workers: int = 1) -> None:
        self._section = section
        self._callers = Callers(section.trusted_proxies, section.client_address_header)
        self._turns = _turns(section)
        self._downloads = Shares(DOWNLOADS)
        accounts = read_accounts_at_rest(section)
        self._watch = _watch(accounts)
        # Workers share the cores: each has its part of them, and one at least.
        self._doorkeeper = Doorkeeper(accounts, threads=max(1, usable_cores() // workers))
        self._header_ignored = False
        self._unreadable = ""

    def change(self, section: AccessSection, accounts: Accounts) -> None:
        """Go by `section` from now on, whose files name these `accounts`; requests that wait for a turn still get it."""
        if _limits(self._section) != _limits(section):
            self._turns = _turns(section)
        self._section = section
        self._callers = Callers(section.trusted_proxies, section.client_address_header)
        self._watch = _watch(accounts)
        self._doorkeeper.change(accounts)
        self._header_ignored = False

    def grant_of(self, request: web.Request) -> Grant | None:
        """Return a grant for requests with the same bytes as `request`, which was let in; None if they have to be looked at each time."""
        if request.get(_CHANGES) != self._doorkeeper.changes:
            # It was let in by other rules than those of this moment.
            return None
        return self._doorkeeper.grant(request.headers.get("Authorization") if SIGNED_IN in request else None)

    def lets_in_at_once(self, grant: Grant, client: str) -> bool:
        """Return whether `client` is let in by `grant` without waiting; if so, its request is counted against its rate.

        False is no refusal: `admit` decides then.
        """
        return self._doorkeeper.still_grants(grant) and (self._turns is None or self._turns.begin_at_once(one_client(client)))

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Call `handler` if the client is let in; raise AccessDenied or TooManyRequests if it is not."""
        client = request.remote or ""
        if self._callers.believes_headers:
            client = self._client_behind(client, request)
        facts_of(request)["client"] = client
        request[_CHANGES] = self._doorkeeper.changes
        if request.path in OPEN:
            return await handler(request)
        if self._turns is None:
            return await self._let_in(request, handler, client)
        async with self._turns.turn(one_client(client)):
            return await self._let_in(request, handler, client)

    def _client_behind(self, peer: str, request: web.Request) -> str:
        values = request.headers.getall(self._callers.header, [])
        if not values and not self._header_ignored and self._callers.trusts(peer):
            ignored = next((name for name in CLIENT_ADDRESS_HEADERS if name in request.headers), None)
            if ignored is not None:
                self._header_ignored = True
                _log.warning(
                    "client-address-header-ignored",
                    proxy=peer,
                    header=ignored,
                    meaning=f"a trusted proxy sent {ignored} and no {self._callers.header}: its clients are counted as one",
                    remedy=f'set client_address_header = "{ignored}" below [access] if the proxy writes that header itself',
                )
        return self._callers.caller(peer, values)

    async def _let_in(self, request: web.Request, handler: Handler, client: str) -> web.StreamResponse:
        if self._section.controlled:
            authorization = request.headers.get("Authorization")
            if authorization is None or not await self._doorkeeper.knows(
                authorization, one_client(client), lambda: request.transport is not None
            ):
                raise AccessDenied(client, given=authorization is not None)
            request[SIGNED_IN] = True
        if _is_download(request):
            # No more at once than one mirror is asked for, so that slow readers of one client leave places for all others.
            async with self._downloads.place(one_client(client)):
                return await handler(request)
        return await handler(request)

    async def looked_after(self, _: web.Application) -> AsyncIterator[None]:
        """Read the files again when they change, so that an account that is struck off is out within seconds."""
        looking = asyncio.create_task(self._look(), name="access files")
        yield
        looking.cancel()
        self._doorkeeper.close()

    async def _look(self) -> None:
        pause = _LOOK_AGAIN
        while True:
            await asyncio.sleep(pause)
            section, watch = self._section, self._watch
            if not files_of(section):
                continue
            found = await asyncio.to_thread(marks_of, section)
            if watch is not self._watch:
                continue
            change = watch.look(found)
            pause = AT_REST if change is Change.LOOK_SOON else _LOOK_AGAIN
            if change in {Change.READ, Change.READ_COMPLETE_LINES}:
                await self._read_again(section, watch, None if change is Change.READ_COMPLETE_LINES else found)

    async def _read_again(self, section: AccessSection, watch: FileWatch, marks: Marks | None) -> None:
        """Read files of which `marks` were found, or if that is None those whole lines that there are, and go by them from now on."""
        try:
            if marks is None:
                accounts = await asyncio.to_thread(read_accounts, section, complete_lines_only=True)
            else:
                still = await asyncio.to_thread(read_accounts_as_of, section, marks, self._doorkeeper.accounts)
                if still is None:
                    # Somebody began to write between the look and the reading.
                    if watch is self._watch:
                        self._watch = FileWatch(None)
                    return
                accounts = still
        except NamesNobody:
            accounts = Accounts((), {})
            _log.error("access-closed", why="the files name nobody", meaning="nobody is let in until they name somebody")
        except SettingsError as error:
            if str(error) != self._unreadable:
                self._unreadable = str(error)
                _log.error("access-unchanged", why=str(error), meaning="who was let in before still is")
            if isinstance(error.__cause__, OSError) and watch is self._watch:
                # It may be readable soon, unchanged: no file descriptor was left, or a network's folder was away.
                self._watch = FileWatch(None)
            return
        if watch is self._watch:
            self._unreadable = ""
            self._doorkeeper.change(accounts)
            _log.info("access-changed", files=[str(file) for file in files_of(section)])
            _warn_of_cut_lines(accounts)


ADMISSION = web.AppKey("admission", Admission)


async def keep_from_shared_caches(request: web.Request, response: web.StreamResponse) -> None:
    """Keep answers to somebody who signed in out of shared caches (RFC 9111, section 3.5), whatever the mirror said of them.

    It is for `on_response_prepare`.
    """
    if SIGNED_IN not in request:
        return
    response.headers["Cache-Control"] = for_one_client(response.headers.get("Cache-Control", ""))


def for_one_client(cache_control: str) -> str:
    """Return the Cache-Control of an answer that no shared cache may keep, from what it would be otherwise."""
    given = [each.strip() for each in cache_control.split(",")]
    kept = [each for each in given if each and each.partition("=")[0].lower() not in _FOR_SHARED_CACHES]
    return ", ".join(kept if "no-store" in kept else ["private", *kept])


def _is_download(request: web.Request) -> bool:
    return "filename" in request.match_info and "/files/" in request.path and not request.path.endswith(".metadata")


def _limits(section: AccessSection) -> tuple[int | None, float | None]:
    at_once, per_second = section.requests_at_once, section.requests_per_second
    return None if at_once == "off" else at_once, None if per_second == "off" else per_second


def _turns(section: AccessSection) -> Turns | None:
    at_once, per_second = _limits(section)
    return None if at_once is per_second is None else Turns(at_once, per_second, lambda: asyncio.get_running_loop().time())


def _watch(accounts: Accounts) -> FileWatch:
    """Return a watch over the files that name `accounts`; what is not whole is read again when it is at rest."""
    _warn_of_cut_lines(accounts)
    return FileWatch(None if accounts.cut_short else accounts.marks)


def _warn_of_cut_lines(accounts: Accounts) -> None:
    for file in accounts.cut_short:
        _log.warning(
            "access-line-left-out",
            file=str(file),
            why="it is being written to all the time, and no line break ends its last line",
            remedy="write another file and put it in the place of this one by mv",
        )
