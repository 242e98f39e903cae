"""A file at the mirror of which some parts are here."""


class MissingPart(Exception):
    """The bytes from `first` to `last`, both included, are needed and not here."""

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last


class PartialFile:
    """A file of `length` bytes of which some parts are here."""

    def __init__(self, length: int) -> None:
        self.length = length
        self._parts: list[tuple[int, bytes]] = []

    def add(self, first: int, content: bytes) -> None:
        """Take the `content` that begins at the byte `first`."""
        self._parts.append((first, content))

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on, fewer at the end of the file; raise MissingPart if they are not here."""
        end = min(start + size, self.length)
        if start < 0 or end <= start:
            return b""
        for first, content in self._parts:
            if first <= start and end <= first + len(content):
                return content[start - first : end - first]
        raise MissingPart(start, end - 1)
