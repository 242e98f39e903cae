"""The credentials in an Authorization header (RFC 9110, section 11.6.2).

Only reading may happen here; whether somebody is known is for the `doorkeeper` to say.
"""

import binascii
from base64 import b64decode
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Presented:
    """Credentials as shown: `tokens`, each of which may be one, and a `user` with its `password` if the scheme is Basic."""

    tokens: tuple[str, ...] = field(repr=False)
    user: str | None = None
    password: str = field(default="", repr=False)


def presented(authorization: str) -> Presented | None:
    """Return the credentials in a header; None if its scheme is not spoken here, or it is damaged.

    Clients of package indexes put a token into an index URL now as the user, now as the password: both are looked at.
    """
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        # RFC 6750, section 2.1
        return Presented((value.strip(),)) if value.strip() else None
    if scheme.lower() != "basic":
        return None
    try:
        decoded = b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    # RFC 7617, section 2: the charset is not fixed; ours is announced as UTF-8, and older clients send Latin-1 all the same.
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        text = decoded.decode("latin-1")
    user, colon, password = text.partition(":")
    if not colon:
        return None
    return Presented(tuple(each for each in (password, user) if each), user, password)
