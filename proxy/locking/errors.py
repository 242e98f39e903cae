"""What can go wrong with a lock, beside what is wrong with settings."""

from proxy.core.errors import MirrormendError


class LockFailed(MirrormendError):
    """A lock could not be made or changed: `what` happened, and the `remedy`."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"
