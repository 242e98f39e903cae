"""The one place where what went wrong becomes a status, headers, and a sentence that somebody in front of uv can act on.

Bodies are problem details (RFC 9457): uv shows `title` and `detail`.
An upstream failure is never a 404: that would send a client to its next index.
"""

import math
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from proxy.core.errors import (
    AccessDenied,
    AddressWithheld,
    DestinationRefused,
    FileNotListed,
    FileUndeliverable,
    InvalidProjectName,
    MetadataUnavailable,
    MirrormendError,
    NoSuchMirror,
    OutboundProxyRefused,
    OwnLimit,
    PageUnreadable,
    TooManyRequests,
    TooManySignIns,
    UpstreamBroke,
    UpstreamDoubted,
    UpstreamError,
    UpstreamOverLimit,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
    UpstreamUntrusted,
)
from proxy.server.passing import fitting

_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the client gets it: `outcome` is its name in logs and metrics, `upstream_status` what the mirror itself answered."""

    status: int
    outcome: str
    title: str
    remedy: str
    upstream_status: int | None = None
    headers: tuple[tuple[str, str], ...] = field(default=())


_RETRY = (("Retry-After", str(_RETRY_SECONDS)),)
_CORRECT = "Correct that, or ask the mirror's admin."
"""The remedy where the error itself says what to do."""

_ASK_ADMIN = "Try again; if it lasts, ask the mirror's admin."

_PROBLEMS: dict[type[MirrormendError], Problem] = {
    InvalidProjectName: Problem(400, "invalid-name", "No project can have this name", "Check the spelling of the requirement."),
    AccessDenied: Problem(
        401,
        "access-denied",
        "The proxy wants credentials",
        "Give your client a user and a password, or a token, of this proxy: for uv UV_INDEX_<NAME>_USERNAME and _PASSWORD, netrc, "
        "or http://user:password@… as the index URL.",
        headers=(("WWW-Authenticate", 'Basic realm="mirrormend", charset="UTF-8"'),),
    ),
    AddressWithheld: Problem(
        403,
        "address-withheld",
        "The mirror's address may hold a secret",
        "Name the mirror as an index of the project, or in MIRRORMEND_UPSTREAM, for `mirrormend lock`; or leave out --proxy.",
    ),
    # A 404 would send a client on to its next index, which may be a public one: a slip of the pen is not to decide that.
    NoSuchMirror: Problem(
        400, "no-such-mirror", "The proxy serves no mirror of this name", "Correct the index URL: /simple/ is the first mirror's."
    ),
    FileNotListed: Problem(
        404, "not-listed", "The mirror lists no such file", "Run `uv lock --refresh` if a lock file names it: the index changed."
    ),
    MetadataUnavailable: Problem(
        502,
        "no-metadata",
        "The mirror delivers no file of this release",
        "Exclude this version in the requirement, or ask the mirror's admin about the release.",
    ),
    PageUnreadable: Problem(
        502,
        "page-unreadable",
        "The mirror's answer is no package index page",
        "Check that the upstream URL is the mirror's simple API, and that no login page stands before it.",
    ),
    UpstreamTimeout: Problem(504, "timeout", "The mirror does not answer in time", _ASK_ADMIN, headers=_RETRY),
    UpstreamUnreachable: Problem(
        503, "unreachable", "The mirror cannot be reached", "Check the network, the proxy settings and the upstream URL.", headers=_RETRY
    ),
    OutboundProxyRefused: Problem(
        502,
        "outbound-proxy",
        "The outbound proxy does not let mirrormend through",
        "The mirror has nothing to do with it: look at the proxy settings of the machine that mirrormend runs on.",
    ),
    UpstreamUntrusted: Problem(503, "unreachable", "No TLS connection to the mirror can be made", _CORRECT, headers=_RETRY),
    DestinationRefused: Problem(
        502,
        "refused",
        "The mirror's link leads to an address that is not allowed",
        "If this address is right, add its host to `allow_hosts` of the upstream.",
    ),
    UpstreamDoubted: Problem(
        502,
        "doubted",
        "The mirror denies what it had a moment ago",
        "Check that the credentials are still valid; else ask the mirror's admin.",
        headers=_RETRY,
    ),
    OwnLimit: Problem(
        503,
        "own-limit",
        "The proxy has too many requests under way",
        "Try again, with fewer downloads at once (UV_CONCURRENT_DOWNLOADS); the mirror has nothing to do with it.",
        headers=_RETRY,
    ),
    UpstreamOverLimit: Problem(
        502, "over-limit", "The mirror's answer is too large", "Raise `page_limit` or `link_limit` of the upstream."
    ),
    UpstreamBroke: Problem(502, "broke", "The mirror broke off its answer", _ASK_ADMIN),
    UpstreamError: Problem(502, "upstream-error", "The mirror failed", _ASK_ADMIN),
    MirrormendError: Problem(500, "error", "mirrormend failed", "Please report this with the log line of this request."),
}


_BY_NAME = "something refuses the proxy itself, as firewalls do by the User-Agent: `user_agent` of the upstream sets another."
_REFUSED = {
    True: "No credentials were sent: if the mirror wants any, give them to uv for the proxy's address (UV_INDEX_<NAME>_USERNAME "
    f"and _PASSWORD, or netrc), or configure them in mirrormend. If it wants none, {_BY_NAME}",
    False: f"Credentials were sent: see at the mirror what they may read. If that is enough, {_BY_NAME}",
}
"""Advice for when the mirror forbids something, by whether nobody said who asks."""


def problem_of(error: MirrormendError, *, anonymous: bool = False) -> Problem:
    """Return what a client is told of `error`; `anonymous` says that the mirror was asked without credentials."""
    if isinstance(error, UpstreamStatus):
        return _problem_of_status(error, anonymous=anonymous)
    if isinstance(error, TooManySignIns):
        return Problem(
            429,
            "too-many-sign-ins",
            "The proxy has too many passwords to check just now",
            "Try again in some seconds; a token of the proxy is checked at once, and needs no waiting.",
            headers=(("Retry-After", str(max(1, math.ceil(error.seconds)))),),
        )
    if isinstance(error, TooManyRequests):
        return Problem(
            429,
            "too-many-requests",
            "The proxy is asked too much by this client",
            "Try again later, or with fewer requests at once (UV_CONCURRENT_DOWNLOADS); `[access]` of the proxy's settings has the limits.",
            headers=(("Retry-After", str(max(1, math.ceil(error.seconds)))),),
        )
    if isinstance(error, FileUndeliverable):
        return Problem(
            403 if error.status in {403, 451} else 502,
            "undeliverable",
            "The mirror lists this file but does not deliver it",
            "Run `uv lock --refresh` to choose another file; ask the mirror's admin why it does not deliver this one."
            + (f" {_REFUSED[True]}" if error.status == 403 and anonymous else ""),
            error.status,
        )
    return next(_PROBLEMS[kind] for kind in type(error).__mro__ if kind in _PROBLEMS)


def _problem_of_status(error: UpstreamStatus, *, anonymous: bool) -> Problem:
    status = error.status
    if status == 401:
        challenges = error.challenges or ('Basic realm="Python package mirror"',)
        return Problem(
            401,
            "unauthorized",
            "The mirror wants credentials",
            "Give uv the mirror's credentials for the proxy's address (UV_INDEX_<NAME>_USERNAME and _PASSWORD, or netrc), "
            "or configure them in mirrormend.",
            status,
            tuple(("WWW-Authenticate", challenge) for challenge in challenges),
        )
    if status == 403:
        return Problem(403, "forbidden", "The mirror forbids this", _REFUSED[anonymous], status)
    if status in {404, 410}:
        return Problem(
            404, "absent", "The mirror has no such project", "Check the name; ask the mirror's admin if it should be there.", status
        )
    if status in {429, 503}:
        wait = _RETRY_SECONDS if error.retry_after is None else max(1, round(error.retry_after))
        title = "The mirror is asked too much" if status == 429 else "The mirror is out of service"
        return Problem(503, "busy", title, "Try again later.", status, (("Retry-After", str(wait)),))
    remedy = _CORRECT if error.remedy else "Ask the mirror's admin."
    return Problem(504 if status == 504 else 502, "mirror-error", f"The mirror failed with status {status}", remedy, status)


def problem_of_refusal(status: int, words: str) -> Problem:
    """Return what a client is told where its request was refused before any handler had it, for the reason that the `words` give."""
    title = "The request is too large" if status == 413 else "This request cannot be answered"
    return Problem(status, "refused", title, " ".join(words.split()))


def problem_response(
    problem: Problem, error: MirrormendError | None, upstream: str | None, request_id: str, **more: object
) -> web.Response:
    """Gives the answer to the client; `request_id` is by what the log knows the request, `more` are further members of the body."""
    said = f"{error}. " if error is not None else ""
    body: dict[str, object] = {"title": problem.title, "status": problem.status, "detail": f"{said}{problem.remedy}"}
    if upstream is not None:
        body["upstream"] = upstream
    if problem.upstream_status is not None:
        body["upstream_status"] = problem.upstream_status
    body |= {"request_id": request_id, **more}
    response = web.Response(status=problem.status, body=msgspec.json.encode(body), content_type="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    # What is told may quote strangers: it is never to be taken for a page.
    response.headers["X-Content-Type-Options"] = "nosniff"
    for name, value in problem.headers:
        response.headers.add(name, fitting(value))
    return response
