"""Pages and verdicts for the tests of pure rules, in few words."""

from collections.abc import Callable, Sequence
from typing import Any

from proxy.core.flows.evidence import Asked, Evidence
from proxy.core.page import File, Page
from proxy.core.verdict.judge import Cause, Kind, Verdict


def file(filename: str, **details: object) -> File:
    return File(filename, f"https://mirror.example.com/packages/{filename}", **details)  # type: ignore[arg-type]


def page(*filenames: str, project: str = "demo") -> Page:
    return Page(project, project, tuple(file(name) for name in filenames))


def no(since: float = 100.0, at: float | None = None, cause: Cause = Cause.ABSENT) -> Verdict:
    at = since if at is None else at
    return Verdict(Kind.UNDELIVERABLE, cause, Evidence(Asked.RANGE, 404, at), at, since)


def yes(at: float = 100.0) -> Verdict:
    return Verdict(Kind.DELIVERABLE, Cause.AVAILABLE, Evidence(Asked.HEAD, 200, at), at, at)


def unknown(at: float = 100.0) -> Verdict:
    return Verdict(Kind.UNKNOWN, Cause.MIRROR_ERROR, Evidence(Asked.HEAD, 503, at), at, at)


def each(of: Callable[[File], Any]) -> Callable[[Sequence[File]], list[Any]]:
    """Makes a function of many files out of one of a single file."""
    return lambda files: [of(one) for one in files]
