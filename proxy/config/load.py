"""Where the settings come from: the command line before the environment, before the file, before the defaults."""

from collections.abc import Mapping
from pathlib import Path

from proxy.config.complaints import Place, SettingsError
from proxy.config.draft import Draft
from proxy.config.environment import CONFIG_VARIABLE, read_environment
from proxy.config.file import read_file
from proxy.config.keys import OPTIONS, parameter_of_option
from proxy.config.section import Section
from proxy.config.sections import Settings

__all__ = ["SettingsError", "load_settings"]


def load_settings(*, file: Path | None, environ: Mapping[str, str], options: Mapping[str, object]) -> Settings:
    """Gives the settings.

    `file` is a TOML file; where None, the one that MIRRORMEND_CONFIG names, and no other is looked for.
    `options` are those of the command line by parameter name, such as `log_level`; one that is None was not given.
    Raises SettingsError, a sentence on one line, for the first thing that is wrong.
    """
    draft = Draft()
    named = environ.get(CONFIG_VARIABLE, "").strip()
    path = file or (Path(named) if named else None)
    if path is not None:
        read_file(path, draft)
    read_environment(environ, draft)
    _read_options(options, draft)
    settings = draft.settings()
    _check_files(settings, draft)
    return settings


def _read_options(options: Mapping[str, object], draft: Draft) -> None:
    for (section, key), option in OPTIONS.items():
        value = options.get(parameter_of_option(option))
        if value is None:
            continue
        if section == "upstream" and len(draft.upstreams) > 1:
            raise SettingsError(option, f"there are {len(draft.upstreams)} upstreams already; give their URLs in the file or by variables")
        draft.put(section, key, value, option)


_FILES = ("ca_bundle", "client_cert", "client_key", "tls_cert", "tls_key", "tokens_file", "htpasswd")


def _check_files(settings: Settings, draft: Draft) -> None:
    named: list[tuple[Place, Path | None]] = []
    mirrors: dict[Place, Section] = {("upstream", index): upstream for index, upstream in enumerate(settings.upstream)}
    others: dict[Place, Section] = {(name,): getattr(settings, name) for name in ("server", "reference", "rescue", "access")}
    for place, section in (mirrors | others).items():
        named += [((*place, key), getattr(section, key)) for key in _FILES if key in type(section).model_fields]
    for place, path in named:
        if path is None:
            continue
        try:
            path.open("rb").close()
        except OSError as error:
            raise SettingsError(draft.origins[place], f"{path} cannot be read ({error.strerror or error})") from error
