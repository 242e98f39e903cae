"""Whether texts hold nothing but certain letters: told for thousands of them, joined, at one go.

Rules for this file: text in, a yes or a no out.
"""

import string

ALPHANUMERIC = string.ascii_letters + string.digits
FILENAME = ALPHANUMERIC + "_.+!-"
"""What the names of nearly all distribution files are made of; no address escapes any of it."""


class Letters:
    """The letters of which a text may be made, all of them ASCII."""

    def __init__(self, letters: str) -> None:
        self._letters = letters.encode("ascii")

    def make(self, text: str) -> bool:
        """Whether `text` is made of these letters alone."""
        return text.isascii() and not text.encode().translate(None, self._letters)
