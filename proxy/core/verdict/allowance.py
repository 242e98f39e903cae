"""How many files a mirror is asked about that nobody waits for: a bucket of tokens for all of its pages together.

Rules for this file: no clock and no waiting; the time, in seconds of any one clock, is an argument.
"""


class Allowance:
    """Hold at most `budget` tokens (None: no bound), and regain `rate` of them a second (None: all of them at once).

    It begins full. Never are more given within a time than `budget` and `rate` times that time; a clock that goes back adds nothing.
    Where the budget became smaller than what was spent, there are fewer than none until that came back.
    """

    __slots__ = ("_at", "_budget", "_rate", "_tokens")

    def __init__(self, budget: int | None, rate: float | None) -> None:
        self._budget = budget
        self._rate = rate
        self._tokens = float(budget or 0)
        self._at: float | None = None

    @property
    def budget(self) -> int | None:
        """The most tokens that are held, None where there is no bound."""
        return self._budget

    @property
    def rate(self) -> float | None:
        """The tokens that are regained a second, None where all are at once."""
        return self._rate

    @property
    def reserve(self) -> int:
        """The tokens that are kept for whoever asks for a page alone: half of them."""
        return (self._budget or 0) // 2

    def change(self, budget: int | None, rate: float | None, now: float) -> None:
        """Hold and regain as much from now on; what was spent of the earlier budget is spent of this one too."""
        self._refill(now)
        spent = (self._budget or 0) - self._tokens
        self._budget, self._rate = budget, rate
        self._tokens = (budget or 0) - spent

    def left(self, now: float, *, keep: int = 0) -> int | None:
        """Return how many tokens can be taken so that `keep` remain, None where there is no bound."""
        if self._budget is None:
            return None
        self._refill(now)
        return max(0, int(self._tokens) - keep)

    def take(self, most: int, now: float, *, keep: int = 0) -> int:
        """Take at most so many tokens, so that `keep` remain, and return how many."""
        left = self.left(now, keep=keep)
        if left is None:
            return most
        taken = max(0, min(most, left))
        self._tokens -= taken
        return taken

    def ready_at(self, tokens: int, now: float, *, keep: int = 0) -> float | None:
        """Return when so many can be taken, `now` where they can already; None: never.

        More than the budget less what is kept are never held, so that all of these are as good.
        """
        if self._budget is None:
            return now
        wanted = min(tokens, self._budget - keep) + keep
        if wanted <= keep:
            return None if tokens > 0 else now
        self._refill(now)
        if self._tokens >= wanted:
            return now
        # A float that falls short of a whole token by its last digit is waited for a little longer.
        return now + (wanted - self._tokens) / self._rate + 1e-6 if self._rate else None

    def _refill(self, now: float) -> None:
        full = float(self._budget or 0)
        if self._rate is None:
            self._tokens = full
        elif self._at is not None:
            self._tokens = min(full, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
