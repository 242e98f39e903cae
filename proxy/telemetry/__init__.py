"""What the process tells of itself: a log (`log`), and numbers (`counts`, `lag`). It knows nothing of the rooms that use it."""

from proxy.telemetry.log import change_logging, configure_logging, line_told_often, withhold

__all__ = ["change_logging", "configure_logging", "line_told_often", "withhold"]
