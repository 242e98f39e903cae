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
        """Take the `content` that begins at the byte `first`; what adjoins a part that is here becomes one with it."""
        end = first + len(content)
        for place, (start, after) in enumerate(self._parts):
            if first <= start <= end <= start + len(after):
                self._parts[place] = (first, content + after[end - start :])
                return
        self._parts.append((first, content))

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on, fewer at the end of the file; raise MissingPart if they are not here."""
        end = min(start + size, self.length)
        if start < 0 or end <= start:
            return b""
        missing_to = end
        for first, content in self._parts:
            if first <= start and end <= first + len(content):
                return content[start - first : end - first]
            if start < first < end <= first + len(content):
                missing_to = min(missing_to, first)
        raise MissingPart(start, missing_to - 1)
