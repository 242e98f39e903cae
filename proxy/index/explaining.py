"""What is known of one file, as data: for whoever asks a running proxy, and for the command that asks the mirror itself.

No secret is in it: addresses come without user information and query.
"""

from datetime import UTC, datetime
from typing import Any

from proxy.core.page import File
from proxy.core.verdict.explain import Explanation
from proxy.core.verdict.judge import Verdict, latest_denial
from proxy.upstream.addresses import shown


def explanation_data(
    explanation: Explanation, mirror: str, *, storm: bool, last_good: float | None, proven_late: float | None = None
) -> dict[str, Any]:
    """Return an explanation as what JSON can hold.

    `mirror` is its address without credentials; `last_good` is when it delivered some file last (seconds since the epoch), and
    `storm` says that nothing is dropped for the moment. `proven_late` is when the file was proven absent although a page had listed it
    and a client had asked for metadata of its release: a lock made then may name it.
    """
    size = None if explanation.file is None else explanation.file.size
    data = {
        "project": explanation.project,
        "filename": explanation.filename,
        "release": explanation.release or None,
        "mirror": mirror,
        "standing": explanation.standing.value,
        "listed": explanation.standing.listed,
        "says": explanation.says,
        "effect": explanation.effect.value or None,
        "file": None if explanation.file is None else file_data(explanation.file),
        "verdict": None if explanation.verdict is None else verdict_data(explanation.verdict, size),
        "nearest": list(explanation.nearest),
        "storm": storm,
        "last_good": None if last_good is None else moment(last_good),
    }
    if proven_late is not None:
        advice = "A lock made at this moment may name it: run `uv lock --refresh`."
        data["proven_late"] = {"at": moment(proven_late), "advice": advice}
    return data


def file_data(file: File) -> dict[str, Any]:
    """Gives what the mirror's page says of a file."""
    return {
        "url": shown(file.url),
        "size": file.size,
        "hashes": dict(file.hashes),
        "requires_python": file.requires_python,
        "upload_time": file.upload_time,
        "yanked": file.yanked if file.yanked is not None else False,
        "core_metadata": bool(file.core_metadata),
    }


def verdict_data(verdict: Verdict, size: int | None) -> dict[str, Any]:
    """Return a verdict on a file of `size` bytes, with the answer that it rests on, or by which the mirror refused the file since."""
    cause, evidence = latest_denial(verdict, size)
    return {
        "kind": verdict.kind.value,
        "cause": cause.value,
        "asked": evidence.asked.value,
        "status": evidence.status,
        "trouble": evidence.trouble or None,
        "media_type": evidence.media_type or None,
        "length": evidence.length,
        "at": moment(evidence.at),
        "checked": moment(verdict.checked),
        "since": moment(verdict.since),
    }


def moment(seconds: float) -> str:
    """Gives a time as RFC 3339 writes it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
