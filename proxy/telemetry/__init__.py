"""What the process tells of itself: a log (`log`), and numbers (`counts`, `lag`). It knows nothing of the rooms that use it."""

from proxy.telemetry.log import configure_logging, line_told_often

__all__ = ["configure_logging", "line_told_often"]
