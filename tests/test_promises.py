"""What is said about the project stays true: the example of a configuration, the reference of settings, the map of errors."""

import inspect
import re
from pathlib import Path

import pytest

from proxy.config.allowed import default_of
from proxy.config.environment import CONFIG_VARIABLE
from proxy.config.keys import Key, all_keys, sections
from proxy.config.load import load_settings
from proxy.config.reference import reference
from proxy.config.sections import Settings
from proxy.core import errors
from proxy.server.outcomes import problem_of

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.toml"
REFERENCE = ROOT / "docs" / "settings.md"

_URL = "https://mirror.example.com/simple/"


def each_key() -> list[object]:
    return [pytest.param(key, id=f"{key.section}.{key.name}") for key in all_keys()]


def uncommented() -> str:
    return re.sub(r"^#(?=\S)", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_example_loads_as_it_is_and_changes_nothing_but_the_mirror() -> None:
    settings = load_settings(file=EXAMPLE, environ={}, options={})
    assert settings == Settings.model_validate({"upstream": {"url": settings.upstream[0].url}})


def test_the_example_loads_with_every_setting_uncommented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r'"([\w-]+\.(?:pem|txt|htpasswd))"', uncommented()):
        Path(name).touch()
    Path("all.toml").write_text(uncommented(), encoding="utf-8")
    settings = load_settings(file=Path("all.toml"), environ={}, options={})
    assert [each.name for each in settings.upstream] == ["default", "team-a"]
    with_defaults = Settings.model_validate({"upstream": {"url": settings.upstream[0].url}})
    for name in set(sections()) - {"upstream"}:
        # What has no default is shown by an example.
        compared = {key.name for key in all_keys() if key.section == name and default_of(key.field) is not None}
        assert getattr(settings, name).model_dump(include=compared) == getattr(with_defaults, name).model_dump(include=compared)


@pytest.mark.parametrize("key", each_key())
def test_the_example_shows_every_key_with_its_default(key: Key) -> None:
    parts = re.split(r"^\[+(\w+)\]+$", uncommented(), flags=re.MULTILINE)
    below = "\n".join(text for heading, text in zip(parts[1::2], parts[2::2], strict=True) if heading == key.section)
    shown = re.findall(rf"^{key.name} = (.+)$", below, flags=re.MULTILINE)
    assert shown, "the key is missing"
    assert default_of(key.field) in {None, shown[0]}


def test_the_reference_is_current() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run: python -m proxy.config.reference > docs/settings.md"


@pytest.mark.parametrize("key", each_key())
def test_the_reference_tells_of_every_key_what_it_means_and_which_variable_sets_it(key: Key) -> None:
    row = next(line for line in reference().split(f"## `[{key.section}]`")[1].splitlines() if line.startswith(f"| `{key.name}` |"))
    assert all(f"`{variable}`" in row for variable in key.variables)
    assert key.field.description
    assert key.field.description.endswith(".")
    assert key.field.description.rstrip(".") in row


def test_every_section_is_described() -> None:
    assert all(model.__doc__ for model in sections().values())


VARIABLES = {CONFIG_VARIABLE, *(variable for key in all_keys() for variable in key.variables)}


@pytest.mark.parametrize("file", ["README.md", "docker-compose.yml", "config.example.toml"])
def test_every_variable_that_is_told_of_exists(file: str) -> None:
    told = set(re.findall(r"\bMIRRORMEND_[A-Z_]*[A-Z]\b", (ROOT / file).read_text(encoding="utf-8")))
    assert told
    # Of several mirrors, one is named in the variable.
    assert {re.sub("_UPSTREAM_TEAM_A_", "_UPSTREAM_", variable) for variable in told} <= VARIABLES


def an_error(kind: type[errors.MirrormendError]) -> errors.MirrormendError:
    made_up: dict[str, object] = {"url": _URL, "status": 500, "seconds": 1.0, "limit": 1, "tried": {"a.whl": "404"}}
    wanted = list(inspect.signature(kind.__init__).parameters.values())
    required = [
        each.name for each in wanted if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD and each.name != "self"
    ]
    return kind(**{name: made_up.get(name, name) for name in required})


def every_error() -> list[type[errors.MirrormendError]]:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    return [each for each in classes if issubclass(each, errors.MirrormendError)]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_becomes_an_answer_with_a_title_and_a_remedy(kind: type[errors.MirrormendError]) -> None:
    problem = problem_of(an_error(kind))
    assert 400 <= problem.status <= 599
    assert problem.title
    assert problem.remedy.endswith(".")
    assert problem.outcome


@pytest.mark.parametrize("kind", [each for each in every_error() if each is not errors.MirrormendError])
def test_no_error_of_the_tree_is_told_as_a_fault_of_the_proxy(kind: type[errors.MirrormendError]) -> None:
    assert problem_of(an_error(kind)).status != 500


@pytest.mark.parametrize("kind", [each for each in every_error() if each is not errors.MirrormendError])
def test_every_error_composes_a_sentence_on_one_line(kind: type[errors.MirrormendError]) -> None:
    said = str(an_error(kind))
    assert said
    assert "\n" not in said


def test_every_error_stands_in_the_tree_that_the_module_draws() -> None:
    assert errors.__doc__ is not None
    assert [each.__name__ for each in every_error() if each.__name__ not in errors.__doc__] == []


@pytest.mark.parametrize("kind", [each for each in every_error() if issubclass(each, errors.UpstreamError)])
def test_an_upstream_failure_is_never_told_as_a_404(kind: type[errors.MirrormendError]) -> None:
    assert problem_of(an_error(kind)).status not in {404, 410}
