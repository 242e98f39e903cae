"""The price of the proxy to a mirror: requests for files that it makes on its own account, and of how many files, by reason."""

from dataclasses import dataclass

from proxy.core.verdict.reason import Reason

EXACT_UP_TO = 4096
"""Distinct files that are counted exactly; beyond, their number is estimated, within about 2 % (Flajolet, "On adaptive sampling", 1990)."""

_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".egg")


class DistinctCount:
    """Count distinct hashes in bounded memory: exactly up to `most` of them, else by a sample of at most so many.

    The sample holds the hashes that end in a number of zero bits, which grows by one whenever the sample becomes too large.
    """

    __slots__ = ("_mask", "_most", "_sample")

    def __init__(self, most: int = EXACT_UP_TO) -> None:
        self._most = most
        self._sample: set[int] = set()
        self._mask = 0

    def add(self, digest: int) -> None:
        """Count `digest`, a well-mixed number, unless it was counted before."""
        if not digest & self._mask:
            self._sample.add(digest)
            if len(self._sample) > self._most:
                self._shrink()

    def merge(self, other: "DistinctCount") -> None:
        """Count what the `other` counted."""
        mask, sample = other._mask, other._sample  # noqa: SLF001 - it is of the same kind
        self._mask |= mask
        self._sample = {each for each in self._sample | sample if not each & self._mask}
        self._shrink()

    def _shrink(self) -> None:
        while len(self._sample) > self._most:
            self._mask = self._mask << 1 | 1
            self._sample = {each for each in self._sample if not each & self._mask}

    def __len__(self) -> int:
        return len(self._sample) * (self._mask + 1)


@dataclass(frozen=True, slots=True)
class Cost:
    """How many requests there were for one reason, and of how many distinct files."""

    reason: Reason
    requests: int
    files: int


class _Tally:
    __slots__ = ("files", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.files = DistinctCount()


class Price:
    """The requests for files that were sent to one mirror since the start.

    A request counts when it leaves, whatever comes of it: repetitions, the hops of a redirect, and HEAD and GET of one probe count each.
    `relayed` are those that a client's own request for a file
    becomes, which the mirror would get without the proxy too: they are no part of the price.
    """

    __slots__ = ("_tallies", "relayed")

    def __init__(self) -> None:
        self.relayed = 0
        self._tallies = {reason: _Tally() for reason in Reason}

    def sent(self, reason: Reason, url: str) -> None:
        """Count a request for the file at `url`, or for its metadata, that was made for this reason."""
        tally = self._tallies[reason]
        tally.requests += 1
        tally.files.add(hash(file_address(url)))

    def relay(self) -> None:
        """Count a request that a client's own request became."""
        self.relayed += 1

    @property
    def costs(self) -> tuple[Cost, ...]:
        """The price of each reason; a file counts for each of its reasons."""
        return tuple(Cost(reason, each.requests, len(each.files)) for reason, each in self._tallies.items())

    @property
    def requests(self) -> dict[Reason, int]:
        """How many requests the proxy made on its own account, by reason."""
        return {reason: each.requests for reason, each in self._tallies.items()}

    @property
    def touched(self) -> int:
        """Of how many distinct files there were requests, for whatever reason."""
        files = DistinctCount()
        for tally in self._tallies.values():
            files.merge(tally.files)
        return len(files)


def file_address(url: str) -> str:
    """Return the part of an address that tells its file from others: the same for its core metadata, and for each signature of a link."""
    if "?" not in url:
        # Most are as they are, and their hash is known.
        return url.removesuffix(".metadata")
    path, _, query = url.partition("?")
    path = path.removesuffix(".metadata")
    return path if path.endswith(_ARCHIVES) else f"{path}?{query}"
