"""Header values of the mirror that go on to a client: whatever bytes they hold, no client gets more than a header can carry."""


def fit(value: str) -> bool:
    """Whether a header can hold `value` as it is: visible ASCII, spaces and tabs (RFC 9110, section 5.5)."""
    return value.isascii() and value.replace("\t", " ").isprintable()


def fitting(value: str) -> str:
    """Gives `value` with a question mark in the place of each letter that no header can hold."""
    return "".join(letter if letter.isascii() and (letter.isprintable() or letter == "\t") else "?" for letter in value)
