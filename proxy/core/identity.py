"""Who asks: what one identity may see is never served to another."""

import hashlib
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Identity:
    """The credentials that a request to the mirror is made with.

    `authorization` is the client's own Authorization header; where None, the configured credentials serve, if any.
    `key` stands for it in caches and maps: empty for the shared identity, else a keyed digest.
    """

    key: str = ""
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, authorization: str | None, secret: bytes) -> Self:
        """Gives the identity behind an Authorization header; `secret` (at most 64 bytes) keeps digests from being guessed."""
        if authorization is None:
            return cls()
        return cls(hashlib.blake2b(authorization.encode(errors="surrogateescape"), digest_size=16, key=secret).hexdigest(), authorization)

    @property
    def shared(self) -> bool:
        """Whether this is the identity of all who bring no credentials of their own."""
        return not self.key


SHARED = Identity()
