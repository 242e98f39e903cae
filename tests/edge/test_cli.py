"""The command as a user meets it: what it prints, and how it ends."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from proxy import __version__
from proxy.cli import main

UPSTREAM = "http://127.0.0.1:9/simple/"


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(words)
    captured = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, captured.out, captured.err


def one_line(capsys: pytest.CaptureFixture[str], status: int, *words: str) -> str:
    ended, out, err = command(capsys, *words)
    assert (ended, out) == (status, "")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err.removesuffix("\n")


def process_environment() -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("COV_")}, "PYTHONWARNINGS": "error"}


@contextmanager
def serving(*words: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Runs the real command on a free port; gives the process, its address, and what it wrote up to there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "serve", "--listen", "127.0.0.1:0", "--store", "memory", "--log-format", "json", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**process_environment(), **variables},
        cwd=Path(__file__).parent.parent.parent,
    )
    try:
        assert process.stderr is not None
        lines: list[str] = []
        while "listening" not in (lines[-1] if lines else ""):
            line = process.stderr.readline()
            assert line, "".join(lines)
            lines.append(line)
        yield process, json.loads(lines[-1])["address"], lines
    finally:
        process.kill()
        process.communicate()


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "--version") == (0, f"mirrormend {__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--help",),
        ("serve", "--help"),
        ("serve", "-h"),
        ("demo", "--help"),
        ("check", "--help"),
        ("explain", "--help"),
        ("warm", "--help"),
        ("lock", "--help"),
        ("completion", "--help"),
    ],
)
def test_help_fits_a_terminal_of_80_columns(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = command(capsys, *words)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert all(line == line.rstrip() for line in out.splitlines())


def test_help_names_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = command(capsys, "serve", "--help")
    said = " ".join(out.split())
    for word in (
        "--config FILE",
        "--upstream URL",
        "127.0.0.1:8080",
        "[default: sqlite,",
        "[default: proxy]",
        "[default: console]",
        "[default: info]",
    ):
        assert word in said


def test_help_and_version_do_not_wait_for_the_server_to_be_imported() -> None:
    code = "import sys; from proxy.cli import main\ntry: main(['--version'])\nexcept SystemExit: print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=process_environment())
    assert not {"aiohttp", "pydantic"} & set(done.stdout.split())


def test_without_a_mirror_it_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    said = one_line(capsys, 2, "serve")
    assert said.startswith("mirrormend: no mirror is given; say --upstream URL")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serve", "--upstrem", UPSTREAM), "--upstream"),
        (("serv",), "No such command 'serv'"),
        (("serve", "extra"), "unexpected extra argument"),
        (("serve", "--links", "foo"), "--links: 'foo' is not allowed; write proxy, redirect or direct"),
        (("serve", "--log-format", "xml"), "--log-format: 'xml' is not allowed; write console or json"),
        (("serve", "--listen", "8080"), "--listen: write it as HOST:PORT"),
        (("serve", "--config", "/none.toml"), "/none.toml: the configuration file cannot be read"),
    ],
)
def test_a_wrong_word_gets_one_line_and_status_2(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--upstream", UPSTREAM) if words[0] == "serve" and "--upstrem" not in words else ()
    assert said in one_line(capsys, 2, *words, *more)


def test_a_wrong_key_of_the_file_gets_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mend.toml"
    file.write_text("[probe]\npacience = 3\n", encoding="utf-8")
    said = one_line(capsys, 2, "serve", "--config", str(file))
    assert said == f"mirrormend: [probe] pacience in {file}: there is no such key; did you mean patience?"


def test_a_wrong_variable_gets_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MIRRORMEND_PROBE_PACIENCE", "3")
    assert "did you mean MIRRORMEND_PROBE_PATIENCE?" in one_line(capsys, 2, "serve", "--upstream", UPSTREAM)


def test_a_certificate_that_is_none_gets_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ca.pem").write_text("this is no certificate", encoding="ascii")
    monkeypatch.setenv("MIRRORMEND_UPSTREAM_CA_BUNDLE", str(tmp_path / "ca.pem"))
    assert one_line(capsys, 2, "serve", "--upstream", UPSTREAM).startswith("mirrormend: upstream default: ca_bundle, client_cert or")


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**process_environment(), **variables},
        cwd=Path(__file__).parent.parent.parent,
    )


def test_a_store_that_cannot_be_gets_one_line_and_status_2_without_its_password() -> None:
    done = run("serve", "--upstream", UPSTREAM, "--listen", "127.0.0.1:0", "--store", "redis://:geheim@127.0.0.1:port/0")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("mirrormend: the store cannot be set up")
    assert "geheim" not in done.stderr


def test_a_port_in_use_gets_one_line_and_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", "--upstream", UPSTREAM, "--store", "memory", "--listen", address)
    assert done.returncode == 1
    assert done.stderr == f"mirrormend: cannot listen on {address} (address already in use); choose another address with --listen\n"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(ending: signal.Signals) -> None:
    with serving("--upstream", "http://user:geheim@127.0.0.1:9/simple/") as (process, address, lines):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(ending)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == ""
    written = "".join(lines) + err
    assert "geheim" not in written
    assert all("event" in json.loads(line) for line in written.splitlines())


def test_variables_are_as_good_as_options() -> None:
    with serving(MIRRORMEND_UPSTREAM=UPSTREAM, MIRRORMEND_LOG_LEVEL="info") as (_, _, lines):
        assert json.loads(lines[-1])["upstreams"] == {"default": UPSTREAM}


def test_each_mirror_is_told_of_with_the_address_that_it_is_served_at_and_without_its_password(tmp_path: Path) -> None:
    file = tmp_path / "mend.toml"
    file.write_text(
        f'[[upstream]]\nurl = "{UPSTREAM}"\n'
        '[[upstream]]\nname = "team"\nurl = "http://user:geheim@127.0.0.1:9/team/simple/"\nkind = "nexus"\nproxy = "http://127.0.0.1:9"\n',
        encoding="utf-8",
    )
    with serving("--config", str(file)) as (_, _, lines):
        told = [line for line in map(json.loads, lines) if line["event"] == "mirror"]
    assert [(line["mirror"], line["at"], line["url"]) for line in told] == [
        ("default", "/simple/", UPSTREAM),
        ("team", "/team/simple/", "http://127.0.0.1:9/team/simple/"),
    ]
    assert [(line["kind"], line["authenticates"], line["outbound_proxy"]) for line in told] == [
        ("auto", False, False),
        ("nexus", True, True),
    ]
    assert "geheim" not in "".join(lines)


TOKEN = "0123456789abcdef-token"
OPEN = "open-to-the-network"
IN_CLEAR = "passwords-in-clear"


@pytest.mark.parametrize(
    ("listen", "variables", "warnings"),
    [
        ("127.0.0.1:0", {}, []),
        ("localhost:0", {}, []),
        ("0.0.0.0:0", {}, [OPEN]),
        ("0.0.0.0:0", {"MIRRORMEND_ACCESS_TOKENS": TOKEN}, [IN_CLEAR]),
        ("0.0.0.0:0", {"MIRRORMEND_ACCESS_TOKENS": TOKEN, "MIRRORMEND_ACCESS_TRUSTED_PROXIES": "10.0.0.0/8"}, []),
        ("0.0.0.0:0", {"MIRRORMEND_ACCESS_TOKENS": TOKEN, "MIRRORMEND_SERVER_TLS_CERT": "server.pem"}, []),
    ],
)
def test_who_listens_to_the_network_without_access_control_is_warned_with_a_remedy(
    listen: str, variables: dict[str, str], warnings: list[str], tmp_path: Path
) -> None:
    if "MIRRORMEND_SERVER_TLS_CERT" in variables:
        trustme.CA().issue_cert("proxy.example.com").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
        variables = variables | {"MIRRORMEND_SERVER_TLS_CERT": str(tmp_path / "server.pem")}
    with serving("--upstream", UPSTREAM, "--listen", listen, **variables) as (_, address, lines):
        told = [line for line in map(json.loads, lines) if line["level"] == "warning"]
    assert [line["event"] for line in told] == warnings
    assert all("[access]" in line["remedy"] and line["meaning"] for line in told)
    assert address.startswith("https://" if "MIRRORMEND_SERVER_TLS_CERT" in variables else "http://")
    assert TOKEN not in "".join(lines)


@pytest.mark.parametrize(
    ("variable", "content", "said"),
    [
        ("ACCESS_TOKENS", "short", "mirrormend: MIRRORMEND_ACCESS_TOKENS: a token has at least 16 characters"),
        ("ACCESS_TRUSTED_PROXIES", "10.0.0.0/99", "mirrormend: MIRRORMEND_ACCESS_TRUSTED_PROXIES: write addresses or networks, such as 10"),
        (
            "ACCESS_REQUESTS_AT_ONCE",
            "0",
            "mirrormend: MIRRORMEND_ACCESS_REQUESTS_AT_ONCE: '0' is not allowed; write off or a whole number fr",
        ),
        ("ACCESS_HTPASSWD", None, "mirrormend: MIRRORMEND_ACCESS_HTPASSWD: {file} cannot be read"),
        (
            "ACCESS_HTPASSWD",
            "ada:geheim",
            "mirrormend: [access] htpasswd: {file}, line 1: only USER:HASH with a bcrypt hash is read; `htpass",
        ),
        ("ACCESS_TOKENS_FILE", "", "mirrormend: [access]: its files name nobody"),
        ("SERVER_TLS_CERT", "geheim", "mirrormend: [server]: tls_cert: {file} give no certificate with its key"),
        ("SERVER_TLS_KEY", "geheim", "mirrormend: [server]: tls_key belongs to a certificate; give tls_cert as well"),
    ],
)
def test_what_is_wrong_about_access_gets_one_line_and_status_2(
    variable: str, content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    if "file" in said or variable.endswith(("FILE", "KEY")):
        if content is not None:
            file.write_text(content, encoding="ascii")
        content = str(file)
    monkeypatch.setenv(f"MIRRORMEND_{variable}", content or "")
    line = one_line(capsys, 2, "serve", "--upstream", UPSTREAM)
    assert line.startswith(said.format(file=file))
    assert "geheim" not in line


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_completes(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    status, out, err = command(capsys, "completion", shell)
    assert (status, err) == (0, "")
    assert "_MIRRORMEND_COMPLETE" in out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mirrormend ", {"serve", "lock", "check", "explain", "warm", "demo", "completion"}),
        ("mirrormend serve --links ", {"proxy", "redirect", "direct"}),
        ("mirrormend serve --log-", {"--log-format", "--log-level"}),
        ("mirrormend check --format j", {"json", "junit"}),
    ],
)
def test_bash_completes_what_was_begun(typed: str, offered: set[str]) -> None:
    script = f"""
        source <(mirrormend completion bash)
        COMP_WORDS=({typed}{'""' if typed.endswith(" ") else ""})
        COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        _mirrormend_completion mirrormend
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = process_environment() | {"PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}
    bash = shutil.which("bash") or "bash"
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.mark.parametrize("subcommand", ["", "serve", "lock", "check", "explain", "warm", "demo", "completion"])
def test_help_says_how_to_begin_or_how_it_ends(capsys: pytest.CaptureFixture[str], subcommand: str) -> None:
    status, out, err = command(capsys, *subcommand.split(), "--help")
    assert (status, err) == (0, "")
    assert any(word in out for word in ("To begin", "Exit status", "The status is", "Where it goes"))


OUTBOUND = "http://me:geheim@proxy.example.com:3128"
NOT_HERE = "192.0.2.1:0"
"""An address of no machine (RFC 5737): a command that gets as far as to listen there ends."""

OVER_TLS = ("--upstream", "https://127.0.0.1:9/simple/")

MISUNDERSTOOD = "no-proxy-entry-not-understood"


@pytest.mark.parametrize(
    "variables",
    [
        {"NO_PROXY": "localhost,127.0.0.1,::1"},
        {"no_proxy": "fd00::/8"},
        {"NO_PROXY": "a:1,b:2"},
        {"FOO_PROXY": "a:b:c", "foo_proxy": "http://[", "ftp_proxy": "http://host:port", "_proxy": "::"},
        {"https_proxy": OUTBOUND, "HTTPS_PROXY": "http://host:port"},
    ],
    ids=",".join,
)
def test_it_serves_whatever_no_proxy_and_variables_that_nobody_reads_say(variables: dict[str, str]) -> None:
    with serving("--upstream", UPSTREAM, **variables) as (_, _, lines):
        assert [line["event"] for line in map(json.loads, lines)] == ["mirror", "listening"]


def test_what_is_not_understood_in_no_proxy_is_warned_of_once_and_briefly() -> None:
    entries = ["10.*", "corp.example", "<local>", "x" * 5000 + ";", "10.*"]
    with serving("--upstream", UPSTREAM, "--workers", "2", HTTP_PROXY=OUTBOUND, NO_PROXY=",".join(entries)) as (_, _, lines):
        entries_told = [line["entry"] for line in map(json.loads, lines) if line["event"] == MISUNDERSTOOD]
    assert entries_told == ["10.*", "<local>", "x" * 80]


@pytest.mark.parametrize(
    "variables", [{}, {"HTTP_PROXY": OUTBOUND, "MIRRORMEND_UPSTREAM_PROXY": OUTBOUND}], ids=["none", "of the settings"]
)
def test_nothing_is_warned_of_where_no_proxy_exempts_from_nothing(variables: dict[str, str]) -> None:
    with serving("--upstream", UPSTREAM, NO_PROXY="10.*", **variables) as (_, _, lines):
        assert [line["event"] for line in map(json.loads, lines)] == ["mirror", "listening"]


@pytest.mark.parametrize(
    "words",
    [
        ("check", "demo", *OVER_TLS),
        ("explain", "demo-1.0.tar.gz", *OVER_TLS),
        ("warm", "--store", "sqlite:store", "demo", *OVER_TLS),
        ("lock", *OVER_TLS),
        ("explain", "--proxy", "http://127.0.0.1:9", "demo-1.0.tar.gz"),
        ("lock", "--proxy", "http://127.0.0.1:9/simple/"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_command_that_somebody_waits_for_warns_of_the_environment_on_standard_error(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\ndependencies = ["demo"]\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "10.*,http://me:geheim@host")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    _, _, said = command(capsys, *words)
    assert "mirrormend: warning: '10.*' in NO_PROXY is not understood: it exempts no host from the outbound proxy\n" in said
    assert "warning: '…@host' in NO_PROXY" in said
    if OVER_TLS[1] not in words:
        return
    assert f"mirrormend: warning: SSL_CERT_FILE names {tmp_path / 'none.pem'}, which is not there; correct or unset it\n" in said


def test_serving_logs_authorities_that_cannot_be_used(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    with serving("--upstream", "https://mirror.example.com/simple/", SSL_CERT_FILE=missing) as (_, _, lines):
        (told,) = (line["meaning"] for line in map(json.loads, lines) if line["event"] == "authorities-unusable")
    assert told == f"SSL_CERT_FILE names {missing}, which is not there; correct or unset it"


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "--upstream", UPSTREAM, "--listen", NOT_HERE),
        ("check", "--upstream", UPSTREAM, "demo"),
        ("explain", "--upstream", UPSTREAM, "demo-1.0.tar.gz"),
        ("explain", "--proxy", "http://127.0.0.1:9", "demo-1.0.tar.gz"),
        ("warm", "--upstream", UPSTREAM, "--store", "sqlite:store", "demo"),
        ("lock", "--upstream", UPSTREAM),
        ("lock", "--proxy", "http://127.0.0.1:9/simple/"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "address",
    [
        "http://me:geheim@host:port",
        "http://me:1/heim@host:1",
        "http://me:1#heim@host:1",
        "me:geheim@",
        "http://me:geheim@a host:1",
        "http://[",
    ],
)
def test_an_impossible_proxy_ends_every_command_that_dials(
    words: tuple[str, ...],
    variable: str,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\ndependencies = ["demo"]\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, address)
    said = one_line(capsys, 2, *words)
    assert said.startswith(f"mirrormend: {variable}: it is no address of a proxy; write it as http://HOST:PORT")
    assert "heim" not in said


def test_an_impossible_proxy_that_nobody_asks_for_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("--upstream", UPSTREAM, http_proxy="http://[", MIRRORMEND_UPSTREAM_PROXY=OUTBOUND) as (_, _, lines):
        assert json.loads(lines[0])["outbound_proxy"] is True
