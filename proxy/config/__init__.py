"""The settings: frozen models of what can be set (`sections`), and where they come from (`load`)."""

from proxy.config.second import ReferenceSection, RescueSection, SecondSection
from proxy.config.sections import (
    LinkMode,
    LinksSection,
    LogFormat,
    LogSection,
    ProbeSection,
    ServerSection,
    Settings,
    StoreSection,
    UpstreamSection,
    VerdictSection,
)
from proxy.core.verdict.budget import MirrorKind

__all__ = [
    "LinkMode",
    "LinksSection",
    "LogFormat",
    "LogSection",
    "MirrorKind",
    "ProbeSection",
    "ReferenceSection",
    "RescueSection",
    "SecondSection",
    "ServerSection",
    "Settings",
    "StoreSection",
    "UpstreamSection",
    "VerdictSection",
]
