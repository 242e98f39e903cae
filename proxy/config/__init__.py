"""The settings: frozen models of what can be set (`sections`), and where they come from (`load`)."""

from proxy.config.complaints import SettingsError
from proxy.config.second import ReferenceSection, RescueSection, SecondSection
from proxy.config.sections import (
    AccessSection,
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
    "AccessSection",
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
    "SettingsError",
    "StoreSection",
    "UpstreamSection",
    "VerdictSection",
]
