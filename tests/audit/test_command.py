"""`mirrormend check` as a user meets it: a process, its two streams and its exit status."""

import asyncio
import json
import os
import pty
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.audit.conftest import MAC, ROOT, Check, as_json, command, environment
from tests.faults import ANYTHING, artifactory_404, slow, status
from tests.mirror import BrokenMirror

SCHEMA = json.loads((ROOT / "docs" / "check-report.schema.json").read_text(encoding="utf-8"))


def validate(data: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(data)


@pytest.fixture
def broken(stocked: BrokenMirror) -> BrokenMirror:
    """A mirror that lists a macOS wheel which it cannot deliver."""
    stocked.server_header = "Artifactory/7.90"
    stocked.fault(MAC, artifactory_404())
    return stocked


def locked(mirror: BrokenMirror, folder: Path, names: Iterable[str]) -> Path:
    """A uv.lock of a project that depends on `demo` 2.0, with these files."""
    listed = mirror.projects["demo"].files
    files = [(name, f'{{ url = "{mirror.file_url(name)}", hash = "sha256:{listed[name].hashes["sha256"]}" }}') for name in names]
    wheels = "".join(f"    {file},\n" for name, file in files if name.endswith(".whl"))
    sdist = "".join(f"sdist = {file}\n" for name, file in files if not name.endswith(".whl"))
    path = folder / "uv.lock"
    path.write_text(
        'version = 1\nrevision = 3\nrequires-python = ">=3.12"\n\n'
        '[[package]]\nname = "app"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "demo" }]\n\n'
        f'[[package]]\nname = "demo"\nversion = "2.0"\nsource = {{ registry = "{mirror.url}" }}\n{sdist}wheels = [\n{wheels}]\n',
        encoding="utf-8",
    )
    return path


async def test_the_table_names_the_file_the_answer_and_the_line_that_repeats_it(broken: BrokenMirror, check: Check) -> None:
    done = await check("demo")
    assert done.returncode == 1
    assert "macOS arm64" in done.stdout
    assert "the mirror lists it and answers 404; the proxy drops it" in done.stdout
    assert f"curl -sSL -o /dev/null -w '%{{http_code}} %{{content_type}}\\n' -r 0-0 {broken.file_url(MAC)}\n" in done.stdout
    assert "checking: 1 of 1 project, " in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


async def test_a_sound_mirror_ends_with_0(stocked: BrokenMirror, check: Check) -> None:
    done = await check("demo", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Sound: nothing was found.\n")


async def test_a_mirror_that_is_down_ends_with_2(stocked: BrokenMirror, check: Check) -> None:
    await stocked.stop()
    done = await check("demo", "-q")
    assert done.returncode == 2
    assert "1 of 1 project could not be checked" in done.stdout


async def test_the_json_follows_its_schema(broken: BrokenMirror, check: Check, tmp_path: Path) -> None:
    done = await check("demo", "nosuch", "--format", "json", "-q")
    report = as_json(done)
    validate(report)
    assert (done.returncode, report["exit_status"]) == (1, 1)
    assert report["mirror"] == {"url": broken.url, "kind": "artifactory"}
    found = report["projects"][0]["findings"][0]
    assert (found["filename"], found["exchange"]["status"]) == (MAC, 404)
    assert found["exchange"]["headers"]["server"] == "Artifactory/7.90"
    price = report["totals"]["price"]
    assert sum(each["requests"] for each in price.values()) == broken.count(kind="file") + broken.count(kind="metadata")
    assert price["proof"]["files"] >= 1
    lock = locked(broken, tmp_path, [name for name in broken.projects["demo"].files if "2.0" in name])
    done = await check("--lock", str(lock), "--format", "json", "-q")
    report = as_json(done)
    validate(report)
    assert {each["name"]: each["verdict"] for each in report["platforms"]["columns"]} == {
        "linux-x86_64": "wheel" if report["platforms"]["pythons"] == ["3.12"] else "sdist",
        "linux-aarch64": "sdist",
        "musllinux-x86_64": "sdist",
        "macos-arm64": "sdist",
        "macos-x86_64": "sdist",
        "windows-amd64": "sdist",
    }
    cells = report["platforms"]["packages"][0]["cells"]
    assert (cells["linux-x86_64"]["3.12"], cells["macos-arm64"]["3.12"]) == ("wheel", "sdist")
    assert report["projects"][0]["findings"][0]["place"] == {"path": str(lock), "line": 11}


def test_the_schema_is_a_schema_that_names_every_fault_and_allows_no_other_keys() -> None:
    from proxy.audit.findings import Fault, Level  # noqa: PLC0415 - here alone

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    finding = SCHEMA["$defs"]["finding"]["properties"]
    assert set(finding["fault"]["enum"]) == {each.value for each in Fault}
    assert set(finding["level"]["enum"]) == {each.value for each in Level}
    with pytest.raises(jsonschema.ValidationError):
        validate({"schema": 1})


async def test_no_secret_is_in_the_report_or_on_the_streams(broken: BrokenMirror, check: Check) -> None:
    broken.credentials = ("reader", "s3cret")
    upstream = broken.url.replace("://", "://reader:s3cret@")
    for form in ("table", "json"):
        done = await check("demo", "nosuch", "--format", form, MIRRORMEND_UPSTREAM=upstream)
        assert done.returncode == 1
        assert "s3cret" not in done.stdout + done.stderr
        assert "$MIRROR_USER" in done.stdout
    broken.credentials = ("reader", "other")
    done = await check("demo", "--log-level", "debug", MIRRORMEND_UPSTREAM=upstream)
    assert done.returncode == 2
    assert "s3cret" not in done.stdout + done.stderr


async def test_secrets_in_the_mirrors_links_are_not_in_the_report(stocked: BrokenMirror, check: Check) -> None:
    hidden = "demo-3.0-py3-none-any.whl"
    stocked.add(hidden, url=f"http://me:geheim@127.0.0.1:9/d/{hidden}?token=geheim")
    for form in ("table", "json", "html", "junit", "github"):
        done = await check("demo", "--format", form)
        assert f"http://127.0.0.1:9/d/{hidden}" in done.stdout
        assert "geheim" not in done.stdout + done.stderr


async def test_the_report_goes_to_the_file_that_is_named(broken: BrokenMirror, check: Check, tmp_path: Path) -> None:
    done = await check("demo", "-q", "--format", "json", "--output", str(tmp_path / "report.json"))
    assert (done.returncode, done.stdout) == (1, "")
    validate(json.loads((tmp_path / "report.json").read_text(encoding="utf-8")))
    done = await check("demo", "-q", "--output", str(tmp_path / "none" / "report.txt"))
    assert done.returncode == 2
    assert done.stderr == (
        f"mirrormend: the report cannot be written to {tmp_path / 'none' / 'report.txt'} (no such file or directory); "
        "choose another --output (1 error and 0 warnings found)\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is given to check; name projects, or give --lock FILE or -r FILE"),
        (("--lock", "none.lock"), "none.lock: it cannot be read (no such file or directory); check the path"),
        (("--lock", "README"), "README: this is no lock that is known"),
        (("not a name",), "'not a name' cannot be the name of a project"),
        (("demo", "--budget", "few"), "'few' is not allowed; write auto, all or a whole number from 0"),
        (("demo", "--format", "xml"), "'xml' is not one of"),
        (("demo", "--loc"), "No such option '--loc'"),
    ],
)
async def test_a_wrong_word_gets_one_line_and_status_2(check: Check, words: tuple[str, ...], said: str) -> None:
    done = await check(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


async def started(mirror: BrokenMirror, tmp_path: Path, *words: str) -> asyncio.subprocess.Process:
    """The command as a process, once it has asked for a file."""
    process = await asyncio.create_subprocess_exec(
        *command("check", "demo", "-q", *words),
        env=environment(tmp_path, MIRRORMEND_UPSTREAM=mirror.url, MIRRORMEND_UPSTREAM_RETRIES="0"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        while not mirror.count(kind="file"):  # noqa: ASYNC110 - the mirror has no event for it
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    return process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_gives_what_is_known_so_far(broken: BrokenMirror, tmp_path: Path, how: signal.Signals) -> None:
    broken.fault("*.tar.gz", slow(60))
    process = await started(broken, tmp_path, "--format", "json")
    os.kill(process.pid, how)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, err) == (1, b"")
    report = json.loads(out)
    validate(report)
    assert report["interrupted"]
    assert report["projects"][0]["whole"] is False
    assert [each["filename"] for each in report["projects"][0]["findings"]] == [MAC]


async def test_ctrl_c_before_anything_is_found_ends_with_2(stocked: BrokenMirror, tmp_path: Path) -> None:
    stocked.fault("*", slow(60))
    process = await started(stocked, tmp_path)
    os.kill(process.pid, signal.SIGINT)
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert "Interrupted: this is what is known so far" in out.decode()


async def test_on_a_terminal_there_is_a_bar_and_the_report_stays_clean(broken: BrokenMirror, tmp_path: Path) -> None:
    broken.fault("*.tar.gz", slow(1.0))
    terminal, end = pty.openpty()
    shown = bytearray()
    # What nobody reads would hold up the command once the terminal is full.
    asyncio.get_running_loop().add_reader(terminal, lambda: shown.extend(os.read(terminal, 1 << 16)))
    try:
        process = await asyncio.create_subprocess_exec(
            *command("check", "demo", "--format", "json"),
            env=environment(tmp_path, MIRRORMEND_UPSTREAM=broken.url, TERM="xterm-256color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=end,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        await asyncio.sleep(0.1)
    finally:
        asyncio.get_running_loop().remove_reader(terminal)
        os.close(terminal)
        os.close(end)
    validate(json.loads(out))
    text = shown.decode()
    assert "checking" in text
    assert "━" in text
    assert "files" in text
    assert "\x1b[2K" in text


async def test_what_a_mirror_sends_commands_no_terminal(stocked: BrokenMirror, check: Check) -> None:
    stocked.fault(ANYTHING, status(500, {"Content-Type": "text/plain"}, b"\x1b[2J[bold]gone\x07"))
    done = await check("demo")
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout
