"""The keys that there are, and what each is called in a file, in the environment and on the command line.

Only names may live here; all follow from the models in `sections`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import get_args

from pydantic.fields import FieldInfo

from proxy.config.section import Section
from proxy.config.sections import Settings

PREFIX = "MIRRORMEND_"

OPTIONS = {
    ("upstream", "url"): "--upstream",
    ("server", "listen"): "--listen",
    ("server", "workers"): "--workers",
    ("store", "location"): "--store",
    ("links", "mode"): "--links",
    ("log", "format"): "--log-format",
    ("log", "level"): "--log-level",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: `name` in `[section]`, described by `field`."""

    section: str
    name: str
    field: FieldInfo

    @property
    def variable(self) -> str:
        """The environment variable that names section and key."""
        return f"{PREFIX}{self.section}_{self.name}".upper()

    @property
    def option(self) -> str | None:
        """The option of `mirrormend serve`, where there is one."""
        return OPTIONS.get((self.section, self.name))

    @property
    def short_variable(self) -> str | None:
        """The variable named like the option, where that differs from `variable`."""
        if self.option is None:
            return None
        short = variable_of_option(self.option)
        return None if short == self.variable else short

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables of the key, the short one first."""
        return (self.variable,) if self.short_variable is None else (self.short_variable, self.variable)


def variable_of_option(option: str) -> str:
    """Gives the variable of an option: `--log-level` is MIRRORMEND_LOG_LEVEL."""
    return PREFIX + parameter_of_option(option).upper()


def parameter_of_option(option: str) -> str:
    """Gives an option's name among parameters: `--log-level` is log_level."""
    return option.lstrip("-").replace("-", "_")


@cache
def sections() -> dict[str, type[Section]]:
    """Gives the model of each section, in the order of the reference."""
    return {name: _model(field) for name, field in Settings.model_fields.items()}


def _model(field: FieldInfo) -> type[Section]:
    annotation = field.annotation
    model = get_args(annotation)[0] if get_args(annotation) else annotation
    if not (isinstance(model, type) and issubclass(model, Section)):
        raise TypeError(annotation)
    return model


@cache
def keys_of(section: str) -> dict[str, Key]:
    """Gives the keys of a section by their names."""
    return {name: Key(section, name, field) for name, field in sections()[section].model_fields.items()}


def all_keys() -> Iterator[Key]:
    """Gives every key of every section."""
    for section in sections():
        yield from keys_of(section).values()
