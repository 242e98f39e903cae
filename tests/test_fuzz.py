"""The coverage-guided run: its targets reach what they are for, and its command says what it needs. No guided run happens here."""

import importlib.util
import random
from pathlib import Path

import pytest

from tests.fuzz.__main__ import NAMES, main
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent
SEEDS = [pytest.param(name, seed, id=f"{name}-{number}") for name, target in TARGETS.items() for number, seed in enumerate(target.seeds)]


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_every_seed_is_understood(name: str, seed: bytes) -> None:
    assert TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_any_bytes(name: str) -> None:
    target, chance = TARGETS[name], random.Random(name)  # noqa: S311 - it makes inputs, and the same ones each time
    target.run(b"")
    for seed in target.seeds:
        for _ in range(20):
            data = bytearray(seed)
            for _ in range(chance.randrange(1, 6)):
                at = chance.randrange(len(data))
                data[at : at + chance.randrange(3)] = chance.choice([b"", chance.choice(target.words), chance.randbytes(2)])
            target.run(bytes(data))


def test_every_target_can_be_named() -> None:
    assert list(TARGETS) == list(NAMES)


def test_what_broke_can_be_fed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "found").write_bytes(b"bytes=0-99")
    assert main(["headers", "--input", str(tmp_path / "found")]) == 0
    assert capsys.readouterr().out == "b'bytes=0-99'\n"


def test_without_atheris_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert main(["headers"]) == 2
    assert "pip install -e '.[fuzz]'" in capsys.readouterr().err


def test_a_target_that_is_none_is_refused_with_the_names_of_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["page"])
    assert "there are pages, answers" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["docs/architecture.md", "tests/fuzz/__main__.py"])
def test_the_command_is_told_of(where: str) -> None:
    assert "python -m tests.fuzz" in (ROOT / where).read_text(encoding="utf-8")
