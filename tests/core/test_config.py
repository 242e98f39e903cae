"""The settings: which source wins, and what somebody is told who wrote a wrong one."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from proxy.config import LinkMode, LogFormat, MirrorKind, Settings
from proxy.config.load import SettingsError, load_settings

MIRROR = "https://mirror.example.com/simple/"


def load(toml: str | None = None, environ: dict[str, str] | None = None, *, folder: Path | None = None, **options: object) -> Settings:
    file = None
    if toml is not None:
        assert folder is not None
        file = folder / "mend.toml"
        file.write_text(toml, encoding="utf-8")
    return load_settings(file=file, environ=environ or {}, options=options)


def complaint(toml: str | None = None, environ: dict[str, str] | None = None, *, folder: Path | None = None, **options: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(toml, environ, folder=folder, **options)
    said = str(caught.value)
    assert "\n" not in said
    return said.replace(str(folder), "DIR") if folder else said


def test_a_mirror_is_all_that_must_be_given() -> None:
    settings = load(upstream=MIRROR)
    assert settings.upstream[0].url == MIRROR
    assert settings.server.listen == "127.0.0.1:8080"
    assert settings.store.location == "sqlite"
    assert settings.links.mode is LinkMode.PROXY


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    toml = '[upstream]\nurl = "https://file.example.com"\n[server]\nlisten = "127.0.0.1:1"\ndrain = 3\n[log]\nlevel = "error"'
    environ = {"MIRRORMEND_LISTEN": "127.0.0.1:2", "MIRRORMEND_LOG_LEVEL": "debug"}
    settings = load(toml, environ, folder=tmp_path, listen="127.0.0.1:3", links=None)
    assert settings.server.port == 3
    assert settings.log.level == "debug"
    assert settings.server.drain == 3
    assert settings.probe.patience == 3
    assert settings.upstream[0].url == "https://file.example.com/"


def test_the_environment_alone_sets_everything() -> None:
    environ = {
        "MIRRORMEND_UPSTREAM": MIRROR,
        "MIRRORMEND_UPSTREAM_KIND": "nexus",
        "MIRRORMEND_UPSTREAM__ALLOW_HOSTS": "files.example.com, 10.0.0.1:8081",
        "MIRRORMEND_PROBE_BUDGET": "12",
        "MIRRORMEND_PROBE__RATE": "auto",
        "MIRRORMEND_STORE": "memory",
        "MIRRORMEND_STORE_MEMORY_LIMIT": "1024",
        "MIRRORMEND_LINKS": "redirect",
        "MIRRORMEND_LOG_FORMAT": "json",
        "PATH": "/usr/bin",
    }
    settings = load(environ=environ)
    assert settings.upstream[0].kind is MirrorKind.NEXUS
    assert settings.upstream[0].allow_hosts == ("files.example.com", "10.0.0.1:8081")
    assert settings.probe.budget == 12
    assert settings.probe.rate == "auto"
    assert (settings.store.location, settings.store.memory_limit) == ("memory", 1024)
    assert settings.links.mode is LinkMode.REDIRECT
    assert settings.log.format is LogFormat.JSON


def test_a_file_is_read_only_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mirrormend.toml", "config.toml"):
        Path(name).write_text(f'[upstream]\nurl = "{MIRROR}"\n', encoding="utf-8")
    assert "no mirror is given" in complaint()
    assert load(environ={"MIRRORMEND_CONFIG": "mirrormend.toml"}).upstream[0].url == MIRROR


def test_an_empty_variable_counts_as_not_set() -> None:
    assert (
        load(environ={"MIRRORMEND_LISTEN": "", "MIRRORMEND_UPSTREAM_TOKEN": " ", "MIRRORMEND_X": ""}, upstream=MIRROR).server.port == 8080
    )


def test_the_variables_of_a_kubernetes_service_called_mirrormend_do_no_harm() -> None:
    environ = {
        "MIRRORMEND_SERVICE_HOST": "10.0.0.1",
        "MIRRORMEND_SERVICE_PORT": "80",
        "MIRRORMEND_SERVICE_PORT_HTTP": "80",
        "MIRRORMEND_PORT": "tcp://10.0.0.1:80",
        "MIRRORMEND_PORT_80_TCP": "tcp://10.0.0.1:80",
        "MIRRORMEND_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ=environ, upstream=MIRROR)


TWO = """
[[upstream]]
url = "https://one.example.com"
[[upstream]]
name = "team-a"
url = "https://two.example.com"
"""


def test_a_variable_addresses_one_of_several_mirrors_by_its_name(tmp_path: Path) -> None:
    environ = {
        "MIRRORMEND_UPSTREAM_TEAM_A_TOKEN": "t0ken",
        "MIRRORMEND_UPSTREAM__TEAM_A__READ_TIMEOUT": "7",
        "MIRRORMEND_UPSTREAM_DEFAULT_RETRIES": "0",
    }
    one, two = load(TWO, environ, folder=tmp_path).upstream
    assert (one.retries, one.token) == (0, None)
    assert two.read_timeout == 7
    assert two.token is not None
    assert two.token.get_secret_value() == "t0ken"


def test_an_option_sets_the_url_of_the_only_mirror_and_keeps_its_other_keys(tmp_path: Path) -> None:
    settings = load('[upstream]\nurl = "https://old.example.com"\nname = "x"', folder=tmp_path, upstream=MIRROR)
    assert [(each.name, each.url) for each in settings.upstream] == [("x", MIRROR)]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[probe]\npacience = 3", "[probe] pacience in DIR/mend.toml: there is no such key; did you mean patience?"),
        ("[upstream]\nca-bundle = 'x'", "[upstream] ca-bundle in DIR/mend.toml: there is no such key; did you mean ca_bundle?"),
        ("[[upstream]]\nurll = 'x'", "[[upstream]] urll in DIR/mend.toml: there is no such key; did you mean url?"),
        (
            "[server]\npatience = 3",
            "[server] patience in DIR/mend.toml: there is no such key here; it belongs below [probe] or [reference]",
        ),
        ("[links]\nzzz = 3", "[links] zzz in DIR/mend.toml: there is no such key; [links] has mode"),
        ("[probes]\nrate = 3", "[probes] in DIR/mend.toml: there is no such section; did you mean [probe]?"),
        ("[server]\nbudget = 3", "[server] budget in DIR/mend.toml: there is no such key here; it belongs below [upstream] or [probe]"),
        ("patience = 3", "patience in DIR/mend.toml: this key stands outside of its section; put it below [probe] or [reference]"),
        ("probe = 3", "probe in DIR/mend.toml: this is a section; write [probe] on a line, and its keys below"),
        ("[probe]\npatience = -1", "[probe] patience in DIR/mend.toml: -1 is not allowed; write a number of seconds from 0"),
        ("[probe]\npatience = true", "[probe] patience in DIR/mend.toml: true is not allowed; write a number of seconds from 0"),
        ("[probe]\nbudget = 'many'", "[probe] budget in DIR/mend.toml: 'many' is not allowed; write auto or a whole number from 0"),
        ("[probe]\nrate = inf", "[probe] rate in DIR/mend.toml: inf is not allowed; write auto or a number above 0"),
        ("[links]\nmode = 'foo'", "[links] mode in DIR/mend.toml: 'foo' is not allowed; write proxy, redirect or direct"),
        ("[server]\nlisten = ':8080'", "[server] listen in DIR/mend.toml: write it as HOST:PORT, such as 127.0.0.1:8080"),
        (
            "[upstream]\nname = 'simple'",
            "[upstream] name in DIR/mend.toml: the proxy needs /simple for itself; choose another name, such as simple-mirror",
        ),
        (
            "[upstream]\nallow_hosts = 'x'",
            "[upstream] allow_hosts in DIR/mend.toml: this value is not allowed; write a list of host or host:port",
        ),
        (
            "[upstream]\nclient_key = 'x'",
            "[upstream] in DIR/mend.toml: client_key belongs to a certificate; give client_cert as well",
        ),
        (
            "[[upstream]]\nname = 'a'\n[[upstream]]\nurl = 'https://mirror.example.com'",
            "[[upstream]] a in DIR/mend.toml: url is missing; give an address starting with https:// or http://",
        ),
        (
            "[[upstream]]\nurl = 'https://mirror.example.com'\n[[upstream]]\nurl = 'https://mirror.example.com'",
            "[upstream]: two upstreams are called 'default'; give each a name of its own",
        ),
    ],
)
def test_a_wrong_key_is_named_as_it_was_written_with_what_would_be_right(toml: str, said: str, tmp_path: Path) -> None:
    environ = {} if toml.count("[[upstream]]") > 1 else {"MIRRORMEND_UPSTREAM": MIRROR}
    assert complaint(toml, environ, folder=tmp_path) == said


@pytest.mark.parametrize(
    ("toml", "line"),
    [("[probe\n", 1), ("[probe]\npatience = \n", 2), ("[probe]\n\nrate = 1\nrate = 2", 4), ("[log]\nlevel = '''\n\n", 3)],
)
def test_a_file_that_is_no_toml_is_named_with_the_line(toml: str, line: int, tmp_path: Path) -> None:
    said = complaint(toml, folder=tmp_path)
    assert re.match(rf"DIR/mend.toml, line ({line}|{line + 1}): this is not TOML: \S", said), said


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    missing = complaint(environ={"MIRRORMEND_CONFIG": str(tmp_path / "none.toml")})
    assert missing == f"{tmp_path}/none.toml: the configuration file cannot be read (No such file or directory)"
    (tmp_path / "latin.toml").write_bytes(b"[upstream]\nname = '\xe9'")
    said = complaint(environ={"MIRRORMEND_CONFIG": str(tmp_path / "latin.toml")})
    assert said == f"{tmp_path}/latin.toml, line 2: this is not UTF-8; save the file in that encoding"


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load(f'\ufeff[upstream]\nurl = "{MIRROR}"', folder=tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MIRRORMEND_UPSTREM", MIRROR, "MIRRORMEND_UPSTREM: there is no such setting; did you mean MIRRORMEND_UPSTREAM?"),
        ("MIRRORMEND_PROBE_PACIENCE", "3", "MIRRORMEND_PROBE_PACIENCE: there is no such setting; did you mean MIRRORMEND_PROBE_PATIENCE?"),
        (
            "MIRRORMEND_ZZZZZZZZZZZZZZZZZZ",
            "3",
            "MIRRORMEND_ZZZZZZZZZZZZZZZZZZ: there is no such setting; docs/settings.md lists all variables",
        ),
        ("MIRRORMEND_PROBE__BUDGET", "x", "MIRRORMEND_PROBE__BUDGET: 'x' is not allowed; write auto or a whole number from 0"),
        ("MIRRORMEND_LINKS", "x", "MIRRORMEND_LINKS: 'x' is not allowed; write proxy, redirect or direct"),
        ("MIRRORMEND_STORE", "x", "MIRRORMEND_STORE: write memory, sqlite, sqlite:PATH or redis://HOST:PORT/DB"),
        ("MIRRORMEND_UPSTREAM_CA_BUNDLE", "/none", "MIRRORMEND_UPSTREAM_CA_BUNDLE: /none cannot be read (No such file or directory)"),
    ],
)
def test_a_wrong_variable_is_named_with_what_would_be_right(variable: str, value: str, said: str) -> None:
    assert complaint(environ={variable: value}, upstream=MIRROR) == said


def test_a_variable_for_no_mirror_or_for_any_of_several_is_refused(tmp_path: Path) -> None:
    assert complaint(TWO, {"MIRRORMEND_UPSTREAM_TEAM_B_TOKEN": "t"}, folder=tmp_path) == (
        "MIRRORMEND_UPSTREAM_TEAM_B_TOKEN: there is no such setting; did you mean MIRRORMEND_UPSTREAM_TEAM_A_TOKEN?"
    )
    assert complaint(TWO, {"MIRRORMEND_UPSTREAM_TOKEN": "t"}, folder=tmp_path) == (
        "MIRRORMEND_UPSTREAM_TOKEN: there are 2 upstreams; say which one, as in MIRRORMEND_UPSTREAM_DEFAULT_TOKEN"
    )
    assert complaint(TWO, folder=tmp_path, upstream=MIRROR).startswith("--upstream: there are 2 upstreams already")


def test_two_variables_of_one_key_must_agree() -> None:
    environ = {"MIRRORMEND_STORE": "memory", "MIRRORMEND_STORE_LOCATION": "sqlite"}
    said = "MIRRORMEND_STORE_LOCATION: MIRRORMEND_STORE sets the same key to something else; keep one of them"
    assert complaint(environ=environ, upstream=MIRROR) == said
    assert load(environ={**environ, "MIRRORMEND_STORE_LOCATION": "memory"}, upstream=MIRROR).store.location == "memory"


def test_an_option_is_named_like_it_was_typed() -> None:
    assert complaint(upstream=MIRROR, log_level="loud") == "--log-level: 'loud' is not allowed; write debug, info, warning or error"
    assert complaint(upstream="mirror.example.com").startswith("--upstream: give the whole address")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://me:p%40@stra\u00dfe.example:8080/a%2Fb//simple", "http://me:p%40@xn--strae-oqa.example:8080/a%2Fb//simple/"),
        ("http://%6dirror.example.com/simple", "http://mirror.example.com/simple/"),
        ("http://Mirror.example.com/%73imple/", "http://Mirror.example.com/%73imple/"),
        ("http://[fe80::1%25eth0]/simple", "http://[fe80::1%25eth0]/simple/"),
    ],
)
def test_the_name_of_a_host_is_kept_as_it_is_dialled(given: str, kept: str) -> None:
    assert load(upstream=given).upstream[0].url == kept


def test_without_a_mirror_it_is_said_how_to_give_one() -> None:
    said = complaint()
    assert all(way in said for way in ("--upstream", "MIRRORMEND_UPSTREAM", "[upstream]", "--config"))


@pytest.mark.parametrize(
    "environ",
    [
        {"MIRRORMEND_UPSTREAM": "https://user:geheim@mirror.example.com:port/simple"},
        {"MIRRORMEND_UPSTREAM": "https://user:ge/heim@mirror.example.com/simple"},
        {"MIRRORMEND_UPSTREAM": "https://user:geheim@mirror.example.com/simple?x"},
        {"MIRRORMEND_UPSTREAM": "user:geheim@mirror.example.com/simple"},
        {"MIRRORMEND_LISTEN": "https://user:geheim@mirror.example.com"},
        {"MIRRORMEND_LINKS": "https://user:geheim@mirror.example.com"},
        {"MIRRORMEND_STORE": "redi://:geheim@redis.example.com"},
        {"MIRRORMEND_UPSTREAM_PROXY": "socks5://user:geheim@proxy.example.com"},
        {"MIRRORMEND_UPSTREAM_NAME": "geheim!"},
        {"MIRRORMEND_UPSTREAM_TOKEN": "geheim", "MIRRORMEND_UPSTREAM_PASSWORD": "geheim"},
    ],
)
def test_no_complaint_tells_a_password(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={"MIRRORMEND_UPSTREAM": MIRROR, **environ})
    assert "heim" not in str(caught.value)


def test_a_password_that_is_no_text_is_not_told(tmp_path: Path) -> None:
    assert "4711" not in complaint(f'[upstream]\nurl = "{MIRROR}"\npassword = 4711', folder=tmp_path)


def test_settings_can_be_printed_without_telling_a_secret() -> None:
    environ = {"MIRRORMEND_UPSTREAM_PASSWORD": "geheim", "MIRRORMEND_STORE": "redis://:geheim@redis.example.com/0"}
    settings = load(environ=environ, upstream="https://user:geheim@mirror.example.com/simple")
    assert "geheim" not in repr(settings)
    assert "geheim" not in str(settings)


def test_a_key_that_would_break_the_line_is_escaped(tmp_path: Path) -> None:
    assert "a\\nb\\x1b" in complaint('[probe]\n"a\\nb\\u001b" = 1', folder=tmp_path)


def test_a_path_may_start_at_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").write_text("", encoding="ascii")
    assert load(environ={"MIRRORMEND_UPSTREAM_CA_BUNDLE": "~/ca.pem"}, upstream=MIRROR).upstream[0].ca_bundle == tmp_path / "ca.pem"


def test_an_error_of_the_models_does_not_quote_what_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"upstream": {"url": "user:geheim@mirror.example.com"}})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[rescue]\nenabled = true", "[rescue]: enabled needs a second index; give its url here or below [reference]"),
        ('[rescue]\nenabled = true\nurl = "https://x.example.com"\n[links]\nmode = "direct"', "a rescued file comes through mirrormend"),
        ('[reference]\nurl = "mirror.example.com"', "[reference] url in DIR/mend.toml: give the whole address"),
        ('[reference]\ntoken = "t"', "[reference]: token is for a second index of its own; give its url as well"),
        ('[reference]\nurl = "https://x.example.com"\nfields = ["hashes"]', "'hashes' is not allowed; write a list of"),
        ('[rescue]\ncauses = ["blocked"]', "'blocked' is not allowed; write a list of"),
        (
            '[reference]\nurl = "https://x.example.com"\nca_bundle = "missing.pem"',
            "[reference] ca_bundle in DIR/mend.toml: missing.pem cannot",
        ),
    ],
)
def test_a_second_index_that_cannot_be_used_is_told_of_at_the_start(toml: str, said: str, tmp_path: Path) -> None:
    assert said in complaint(toml, {"MIRRORMEND_UPSTREAM": MIRROR}, folder=tmp_path)


def test_no_second_index_is_asked_by_default_and_nothing_is_rescued() -> None:
    settings = load(upstream=MIRROR)
    assert (settings.reference.url, settings.rescue.url, settings.rescue.enabled) == (None, None, False)


def test_names_of_projects_are_spelled_as_one_likes() -> None:
    environ = {"MIRRORMEND_REFERENCE_URL": MIRROR, "MIRRORMEND_REFERENCE_EXCLUDE": "Acme_*, Secret.Tool"}
    assert load(environ=environ, upstream=MIRROR).reference.exclude == ("acme-*", "secret-tool")
