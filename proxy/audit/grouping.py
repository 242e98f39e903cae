"""Findings that are alike, together: a mirror without macOS files has thousands, and an admin wants to read one line for them.

Rules for this file: pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.audit.findings import Fault, Finding, Level
from proxy.core.verdict.explain import Effect


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one project, platform and cause; never empty."""

    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding:
        """The one that stands for all."""
        return self.findings[0]

    @property
    def releases(self) -> tuple[str, ...]:
        """The releases that they are of, each once."""
        return tuple(dict.fromkeys(each.release for each in self.findings if each.release))

    @property
    def status(self) -> str:
        """What was answered: the status, or why no answer came."""
        exchange = self.first.exchange
        if exchange is None:
            return ""
        return exchange.trouble if exchange.status is None else str(exchange.status)


def grouped(findings: Iterable[Finding], *, by_release: bool = False) -> list[Group]:
    """Gives the findings by project, platform and cause, and `by_release`, the gravest levels first, in their order besides."""
    groups: dict[tuple[Level, str, str, str, Fault, str, Effect, int | None], list[Finding]] = {}
    for each in findings:
        status = None if each.exchange is None else each.exchange.status
        release = each.release if by_release or not each.filename else ""
        key = (each.level, each.project, release, each.platform, each.fault, each.cause, each.effect, status)
        groups.setdefault(key, []).append(each)
    order = list(Level)
    return sorted((Group(tuple(each)) for each in groups.values()), key=lambda group: order.index(group.first.level))
