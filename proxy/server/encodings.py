"""Choosing a content coding from Accept-Encoding (RFC 9110, section 12.5.3)."""

from functools import lru_cache

from proxy.index.served import ENCODINGS


@lru_cache(maxsize=256)
def choose_encoding(accept_encoding: str | None) -> str:
    """Gives the coding to use: the first of ours that the header admits with the highest weight, `identity` where it admits none."""
    if not accept_encoding:
        return "identity"
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        name, _, value = parameters.strip().partition("=")
        try:
            weight = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            weight = 0.0
        # RFC 9110, 12.4.2: from 0 to 1. A float can also be spelled "nan", which is less than nothing and greater than nothing.
        weights[coding.strip()] = weight if 0.0 <= weight <= 1.0 else 0.0
    fallback = weights.get("*", 0.0)
    admitted = [(weights.get(coding, fallback), coding) for coding in ENCODINGS if coding != "identity"]
    best = max((weight for weight, _ in admitted), default=0.0)
    if best <= 0.0 or best < weights.get("identity", 0.0):
        return "identity"
    return next(coding for weight, coding in admitted if weight == best)
