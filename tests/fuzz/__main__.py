"""`python -m tests.fuzz`: feeds what reads foreign bytes with inputs that are guided by what they reach, for a bounded time.

    python -m tests.fuzz [TARGET…] [--seconds N] [--corpus FOLDER]
    python -m tests.fuzz TARGET --input FILE

Every target gets N seconds (60 where nothing is said). What breaks a promise is written to FOLDER, and can be fed again with `--input`.
FOLDER also holds what a run learned, from which the next one goes on; without one, a folder for temporary files is used.
It needs atheris: `pip install -e '.[fuzz]'`.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

NAMES = ("pages", "answers", "wheels", "sdists", "metadata", "headers")
_INSTRUMENTED = ("proxy", "zipfile", "tarfile", "email.feedparser", "email.header", "email._parseaddr")
_LONGEST_INPUT = 16 * 1024
_MEMORY_MB = 1024
_SECONDS_FOR_ONE = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit code: 0 where every promise held, 1 where one broke, 2 where nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(NAMES)}; all where none is named")
    parser.add_argument("--seconds", type=int, default=60, metavar="N")
    parser.add_argument("--corpus", type=Path, metavar="FOLDER")
    parser.add_argument("--input", type=Path, metavar="FILE")
    parser.add_argument("--guided", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args(arguments)
    unknown = [name for name in words.targets if name not in NAMES]
    if unknown:
        parser.error(f"there is no target {unknown[0]!r}; there are {', '.join(NAMES)}")
    targets = words.targets or list(NAMES)
    if words.input is not None:
        return _feed(targets[0], words.input)
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("atheris is not installed: pip install -e '.[fuzz]'\n")
        return 2
    folder = words.corpus or Path(tempfile.gettempdir()) / "mirrormend-fuzz"
    if words.guided:
        _guided(targets[0], folder, words.seconds)
    return _run_each(targets, folder, words.seconds)


def _feed(name: str, file: Path) -> int:
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - a guided run instruments what this imports

    sys.stdout.write(f"{TARGETS[name].run(file.read_bytes())!r}\n")
    return 0


def _run_each(targets: Sequence[str], folder: Path, seconds: int) -> int:
    """Runs each target in a process of its own, since a guided run ends its process."""
    outcomes: dict[str, str] = {}
    for name in targets:
        started = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz", name, "--guided", "--seconds", str(seconds), "--corpus", str(folder)]
        status = subprocess.run(command, check=False, timeout=seconds + 120).returncode
        outcomes[name] = "held" if status == 0 else f"BROKE ({status}): see {folder / name}"
        sys.stdout.write(f"# {name}: {outcomes[name]} ({time.monotonic() - started:.0f} s)\n")
    sys.stdout.write("".join(f"{name:10}{outcome}\n" for name, outcome in outcomes.items()))
    return int(any(outcome != "held" for outcome in outcomes.values()))


def _escaped(word: bytes) -> str:
    return "".join(rf"\x{byte:02x}" for byte in word)


def _guided(name: str, folder: Path, seconds: int) -> None:
    import atheris  # noqa: PLC0415 - only this way of running needs it

    with atheris.instrument_imports(include=list(_INSTRUMENTED), enable_loader_override=False):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - here it is instrumented
    target = TARGETS[name]
    corpus, broken = folder / name / "corpus", folder / name / "broken"
    for each in (corpus, broken):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / name / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), encoding="ascii")

    def run(data: bytes) -> None:
        target.run(data)

    options = {
        "max_total_time": seconds,
        "max_len": _LONGEST_INPUT,
        "rss_limit_mb": _MEMORY_MB,
        "timeout": _SECONDS_FOR_ONE,
        "dict": words,
        "artifact_prefix": f"{broken}/",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    atheris.Setup([sys.argv[0], str(corpus), *(f"-{option}={value}" for option, value in options.items())], run)
    # It ends the process.
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
