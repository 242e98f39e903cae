"""What is asked again, when, and how often: failures in passing, Retry-After, and a budget for repetitions.

Rules for this file: no clock and no waiting; the time is an argument.
"""

from email.utils import parsedate_to_datetime

from proxy.core.flows.exchange import Answer, Ask, Method, NoAnswer, Reply, Trouble

LONGEST_WAIT = 30.0
"""Seconds; where the mirror wants a longer pause before a repetition, its answer is taken as it is."""

LONGEST_WAIT_FOR_ONE = 3.0
"""The same where it is one path that wants the pause, and not the mirror: a page, say, waits for what comes of it."""

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 2.0

_IN_PASSING = frozenset({Trouble.TIMEOUT, Trouble.RESET, Trouble.REFUSED, Trouble.DNS})
_OF_STRAIN = frozenset({Trouble.TIMEOUT, Trouble.RESET, Trouble.REFUSED})


def failed_in_passing(ask: Ask, reply: Reply) -> bool:
    """Gives whether the same request may well be answered a moment later.

    A server error to HEAD of the kind that GET often does not meet (500, 501) is no matter of time.
    """
    if isinstance(reply, NoAnswer):
        return reply.trouble in _IN_PASSING
    status = reply.status
    return status in {408, 425, 429} or (status >= 500 and not (status in {500, 501} and ask.method is Method.HEAD))


def shows_strain(reply: Reply) -> bool:
    """Gives whether the mirror, or what stands before it, could not bear the request."""
    if isinstance(reply, NoAnswer):
        return reply.trouble in _OF_STRAIN
    return reply.status in {429, 502, 503, 504}


def retry_after(reply: Reply) -> float | None:
    """Gives the seconds for which the mirror wants to be left alone (RFC 9110, 10.2.3), None where it does not say."""
    if not isinstance(reply, Answer):
        return None
    value = reply.headers.get("retry-after", "")
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - reply.at)
    except (ValueError, OverflowError):
        return None


def of_its_path_alone(ask: Ask, reply: Reply) -> bool:
    """Return whether a failure says nothing of how much the mirror bears.

    There are mirrors that answer every `.metadata` (PEP 658) by a server error, while they deliver all files.
    """
    return isinstance(reply, Answer) and reply.status >= 500 and ask.url.partition("?")[0].endswith(".metadata")


class Ailing:
    """Paths that showed strain a while ago: where one does so again, that says something of it, and nothing new of the mirror.

    Else one file that never gets an answer would slow down all others, by each time that it is asked for.
    """

    __slots__ = ("_since",)

    _LASTS = 600.0
    _REMEMBERED = 1000

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def known(self, path: str, now: float) -> bool:
        """Note that `path` shows strain, and return whether it did before."""
        since = self._since.pop(path, None)
        known = since is not None and 0 <= now - since < self._LASTS
        self._since[path] = now
        if len(self._since) > self._REMEMBERED:
            del self._since[next(iter(self._since))]
        return known


class Wishes:
    """Tells whose wish to be left alone a Retry-After is: that of the path that it came for, until several paths say so.

    Of a mirror that delivers nearly everything, some files that are out of service are no reason to leave all others alone.
    """

    __slots__ = ("_began", "_good", "_paths")

    _SEVERAL = 3
    _GOOD_FOR_EACH = 8
    _LAST = 60.0

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._began = float("-inf")
        self._good = 0

    def delivered(self, count: int) -> None:
        """Note so many good answers."""
        self._good += count

    def of_mirror(self, path: str, now: float) -> bool:
        """Note that the answer for `path` asks for a pause, and return whether that is the wish of the mirror as a whole."""
        if not 0 <= now - self._began < self._LAST:
            self._paths.clear()
            self._began, self._good = now, 0
        if len(self._paths) < 1000:
            self._paths.add(path)
        return len(self._paths) >= self._SEVERAL and len(self._paths) * self._GOOD_FOR_EACH >= self._good


def delay(attempt: int, share: float, wanted: float | None) -> float:
    """Gives the seconds before repetition number `attempt` (from 1 on): a random `share` (0 to 1) of a doubling time.

    Never less than the mirror `wanted`, so that those who were refused together come back apart.
    """
    return (wanted or 0.0) + share * min(_LONGEST_DELAY, _FIRST_DELAY * 2.0**attempt)


class RetryBudget:
    """Keeps repetitions below a share of what is asked at all, so that a mirror in trouble is not asked more than one in health.

    Beside the share (a tenth) there is a small allowance that comes back by one a second: a quiet proxy may repeat too.
    """

    __slots__ = ("_asked", "_at", "_left")

    _SHARE = 0.1
    _FLOOR = 10.0
    _CEILING = 100.0

    def __init__(self) -> None:
        self._left = self._FLOOR
        self._asked = 0
        self._at: float | None = None

    def allows(self, asked: int, now: float) -> bool:
        """Takes one repetition out of the budget, if it has one: `asked` counts all requests so far, `now` is in seconds."""
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        earned = self._left + (asked - self._asked) * self._SHARE
        self._left = min(self._CEILING, max(earned, min(self._FLOOR, earned + passed)))
        self._asked, self._at = asked, now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
