"""Upload times as clients accept them (PEP 700): a wrong one would make uv refuse the whole page."""

import re
from collections.abc import Sequence

_DAY = (
    r"(?:(?!9999)[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    r"|(?:2000|[0-9]{2}(?:0[48]|[2468][048]|[13579][26]))-02-29)"
)
_MINUTE = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECOND = r":[0-5][0-9]"
_PLAIN = re.compile(rf"(?:{_DAY}T{_MINUTE}{_SECOND}(?:\.[0-9]{{1,9}})?Z\n)*+")
_LENIENT = re.compile(rf"{_DAY}[Tt ]{_MINUTE}(?:{_SECOND}(?:[.,][0-9]{{1,9}})?)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)")


def are_moments(texts: Sequence[str]) -> bool:
    """Whether all of the `texts` are times in the format of PEP 700, told for thousands at one go."""
    return not texts or _PLAIN.fullmatch("\n".join(texts) + "\n") is not None


def sound_moment(given: object) -> str | None:
    """Gives what is `given` as an upload time if it says a moment, None otherwise: a time without a zone says none."""
    return given if isinstance(given, str) and _LENIENT.fullmatch(given) else None
