"""Settings from environment variables: MIRRORMEND_<SECTION>_<KEY>, and short ones named like the options.

An empty variable counts as none: compose files pass on what is not set as an empty text.
"""

import re
from collections.abc import Iterator, Mapping

from proxy.config.complaints import SettingsError, nearest
from proxy.config.draft import Draft
from proxy.config.keys import PREFIX, Key, all_keys, keys_of

CONFIG_VARIABLE = f"{PREFIX}CONFIG"

# Kubernetes gives every pod such variables for each service, so also for one that is called mirrormend.
_OF_A_SERVICE = re.compile(r".*_SERVICE_HOST|.*_SERVICE_PORT(_[A-Z0-9_]+)?|.*_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?")


def read_environment(environ: Mapping[str, str], draft: Draft) -> None:
    """Puts what the variables set into `draft`; raises SettingsError for a MIRRORMEND_ variable that nobody knows."""
    named = {variable: key for key in all_keys() for variable in key.variables}
    seen: dict[tuple[str, int, str], tuple[str, str]] = {}
    for variable, value in _ours(environ):
        plain = re.sub("_+", "_", variable)
        key = named.get(plain)
        index = 0
        if key is not None and key.section == "upstream":
            index = _the_only_upstream(draft, variable, key)
        elif key is None:
            key, index = _of_named_upstream(draft, variable, plain, named)
        place = (key.section, index, key.name)
        earlier, earlier_value = seen.setdefault(place, (variable, value))
        if earlier_value != value:
            raise SettingsError(variable, f"{earlier} sets the same key to something else; keep one of them")
        draft.put(key.section, key.name, _split(key, value), variable, index=index)


def _ours(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or not value.strip():
            continue
        if _OF_A_SERVICE.fullmatch(variable) or (variable.endswith("_PORT") and "://" in value):
            continue
        yield variable, value.strip()


def _the_only_upstream(draft: Draft, variable: str, key: Key) -> int:
    if len(draft.upstreams) > 1:
        example = f"{PREFIX}UPSTREAM_{_spelled(draft.name_of(0))}_{key.name.upper()}"
        raise SettingsError(variable, f"there are {len(draft.upstreams)} upstreams; say which one, as in {example}")
    return 0


def _of_named_upstream(draft: Draft, variable: str, plain: str, named: Mapping[str, Key]) -> tuple[Key, int]:
    rest = plain.removeprefix(f"{PREFIX}UPSTREAM_")
    if rest != plain:
        names = {_spelled(draft.name_of(index)): index for index in range(len(draft.upstreams))}
        for key in keys_of("upstream").values():
            name = rest.removesuffix(f"_{key.name.upper()}")
            if name != rest and name in names:
                return key, names[name]
    meant = nearest(plain, [*named, CONFIG_VARIABLE, *_variables_of_named(draft)])
    hint = f"did you mean {meant}?" if meant else "docs/settings.md lists all variables"
    raise SettingsError(variable, f"there is no such setting; {hint}")


def _variables_of_named(draft: Draft) -> Iterator[str]:
    for index in range(len(draft.upstreams)):
        for key in keys_of("upstream"):
            yield f"{PREFIX}UPSTREAM_{_spelled(draft.name_of(index))}_{key.upper()}"


def _spelled(name: str) -> str:
    return name.upper().replace("-", "_")


def _split(key: Key, value: str) -> object:
    # Only lists need it: pydantic reads numbers and choices out of text.
    return [each.strip() for each in value.split(",") if each.strip()] if isinstance(key.field.default, tuple) else value
