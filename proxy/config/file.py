"""Settings from a configuration file: TOML 1.0, in UTF-8."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from proxy.config.complaints import SettingsError, nearest
from proxy.config.draft import Draft
from proxy.config.keys import all_keys, keys_of, sections

_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def read_file(path: Path, draft: Draft) -> None:
    """Puts the file's settings into `draft`; raises SettingsError where it cannot be read, or has a key that nobody knows."""
    for section, content in _parsed(path).items():
        if section not in sections():
            raise SettingsError(f"{_written(section, content)} in {path}", _no_such_section(section, content))
        if section == "upstream" and isinstance(content, list):
            for index, table in enumerate(content):
                _put_table(draft, "[[upstream]]", table, path, index)
        else:
            _put_table(draft, f"[{section}]", content, path, 0)


def _parsed(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(str(path), f"the configuration file cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}, line {line}", "this is not UTF-8; save the file in that encoding") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = str(error)
        position = _POSITION.search(why)
        line = int(position[1]) if position and position[1] else text.count("\n") + 1
        raise SettingsError(f"{path}, line {line}", f"this is not TOML: {_POSITION.sub('', why)}") from error


def _put_table(draft: Draft, heading: str, table: object, path: Path, index: int) -> None:
    section = heading.strip("[]")
    if not isinstance(table, dict):
        raise SettingsError(f"{section} in {path}", f"this is a section; write [{section}] on a line, and its keys below")
    if section == "upstream":
        # A table without keys is a mirror too: one whose URL is missing.
        draft.upstreams.append({})
        draft.origins[section, index] = f"{heading} {table.get('name', '')}".rstrip() + f" in {path}"
    for key, value in table.items():
        if key not in keys_of(section):
            raise SettingsError(f"{heading} {key} in {path}", _no_such_key(section, key))
        draft.put(section, key, value, f"{heading} {key} in {path}", index=index)


def _written(section: str, content: object) -> str:
    if isinstance(content, dict):
        return f"[{section}]"
    return f"[[{section}]]" if isinstance(content, list) and all(isinstance(each, dict) for each in content) else section


def _no_such_section(section: str, content: object) -> str:
    homes = [key.section for key in all_keys() if key.name == section]
    if homes and not isinstance(content, dict):
        return f"this key stands outside of its section; put it below {_either(homes)}"
    meant = nearest(section, sections())
    if meant is not None:
        return f"there is no such section; did you mean [{meant}]?"
    return f"there is no such section; there are {', '.join(f'[{each}]' for each in sections())}"


def _no_such_key(section: str, key: str) -> str:
    meant = nearest(key.replace("-", "_"), keys_of(section))
    if meant is not None:
        return f"there is no such key; did you mean {meant}?"
    elsewhere = [each.section for each in all_keys() if each.name == key]
    if elsewhere:
        return f"there is no such key here; it belongs below {_either(elsewhere)}"
    return f"there is no such key; [{section}] has {', '.join(keys_of(section))}"


def _either(names: list[str]) -> str:
    return " or ".join(f"[{each}]" for each in names)
