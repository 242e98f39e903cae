"""The reference of all settings, `docs/settings.md`, made from the models: `python -m proxy.config.reference > docs/settings.md`."""

import sys
from inspect import cleandoc

from pydantic_core import PydanticUndefined

from proxy.config.allowed import allowed_values, default_of, spoken_default
from proxy.config.keys import Key, keys_of, sections

_HEAD = """\
# Settings

<!-- Made by `python -m proxy.config.reference > docs/settings.md`; change the models in proxy/config/sections.py instead. -->

A setting is looked for on the command line first, then in the environment, then in the configuration file.
Where none of them has it, the default below applies.

- **Command line**: the options of `mirrormend serve` cover what is changed most.
- **Environment**: every key has a variable, `MIRRORMEND_<SECTION>_<KEY>`.
  Two underscores may stand between section and key.
  A variable that is empty counts as not set, and a list is written with commas.
- **File**: TOML, named by `--config` or `MIRRORMEND_CONFIG`; no file is read unless it is named.
  [config.example.toml](../config.example.toml) shows every key.

The only setting that has no default is the mirror: `mirrormend serve --upstream URL` is a complete command.
A relative path counts from the folder that mirrormend is started in, and `~` is the user's home.

A key or a `MIRRORMEND_` variable that does not exist, and a value that is not allowed, end the command with status 2 and a line that says
what to write instead.

## Several mirrors

Each mirror gets a table `[[upstream]]` of its own, with a `name` that no other one has.
The first one is served at `/simple/`, and each one at `/<name>/simple/`, the first one too.
Where clients have credentials of their own for several of them, let them name the first one as well: uv takes an index at `/simple/`
for the whole proxy, and sends its credentials to the others.
A variable says which one it means: `MIRRORMEND_UPSTREAM_TEAM_A_TOKEN` is the `token` of the mirror called `team-a`.
"""

_COLUMNS = ("Key", "Allowed", "Default", "Variable", "Option", "Meaning")


def reference() -> str:
    """Gives the whole document."""
    return "\n".join([_HEAD, *(_section(name) for name in sections())])


def _section(name: str) -> str:
    model = sections()[name]
    rows = [f"| {' | '.join(_row(key))} |" for key in keys_of(name).values()]
    head = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    return "\n".join([f"## `[{name}]`", "", cleandoc(model.__doc__ or ""), "", *head, *rows, ""])


def _row(key: Key) -> tuple[str, ...]:
    variables = ", ".join(f"`{variable}`" for variable in key.variables)
    option = f"`{key.option}`" if key.option else ""
    meaning = (key.field.description or "").replace("|", "\\|")
    return f"`{key.name}`", allowed_values(key.field), _default(key), variables, option, meaning


def _default(key: Key) -> str:
    if key.field.default is PydanticUndefined:
        return "must be given"
    default = default_of(key.field)
    if default is None:
        return "none"
    spoken = spoken_default(key.field)
    return f"`{default}` ({spoken})" if spoken else f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
