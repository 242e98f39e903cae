"""All that the process tells of itself: a log (`log`, written by `output`), and numbers (`counts`, `lag`).

It knows nothing of the rooms that use it.
"""

from proxy.telemetry.log import change_logging, configure_logging, line_told_often, withhold
from proxy.telemetry.output import flush_within

__all__ = ["change_logging", "configure_logging", "flush_within", "line_told_often", "withhold"]
