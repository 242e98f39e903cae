"""Locks as inputs: which packages of them come from the mirror, and what becomes of all others."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from proxy.audit.inputs import KnownMirror, read_order
from proxy.audit.wanted import LockedFile, Order, Pin, Unreadable, Want
from tests.audit.lock_texts import SHA, Locked, pdm_lock, poetry_lock, pylock, uv_lock, wheel

MIRROR = "https://mirror.example.com/pypi/simple/"
AT_MIRROR = "https://mirror.example.com/pypi/packages/"
PYPI = "https://index.example.org/simple"
AT_PYPI = "https://files.example.org/packages/"
PRIVATE = "https://private.example.net/simple/"
AT_PRIVATE = "https://private.example.net/packages/"
PROXY = "http://127.0.0.1:8080/simple/"
TEAM_PROXY = "https://proxy.example.com/simple/"


def proxied(name: str, proxy: str) -> Locked:
    return Locked(name, proxy, [wheel(name, f"{proxy.removesuffix('simple/')}files/{name}/")])


def at(name: str, index: str | None, files: str) -> Locked:
    return Locked(name, index, [wheel(name, files)])


PUBLIC = at("public", PYPI, AT_PYPI)
SECRET = at("secret", PRIVATE, AT_PRIVATE)
OWN = at("own", MIRROR, AT_MIRROR)

IN_ANY_LOCK = pytest.mark.parametrize(("name", "write"), [("uv.lock", uv_lock), ("pylock.toml", pylock), ("poetry.lock", poetry_lock)])


def read(path: Path, text: str, mirror: KnownMirror | str = MIRROR) -> Order:
    path.write_text(text, encoding="utf-8")
    return read_order([], [path], [], mirror)


def taken(order: Order) -> tuple[list[str], int]:
    return [want.project for want in order.wants], order.sources[0].elsewhere


def pins(order: Order, project: str) -> tuple[Pin, ...]:
    (want,) = (want for want in order.wants if want.project == project)
    return want.pins


# The rule -----------------------------------------------------------------------------------------------------------------------------


@IN_ANY_LOCK
def test_all_spellings_of_the_mirror_in_one_lock_are_the_mirror(
    tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str]
) -> None:
    spellings = [
        MIRROR,
        MIRROR.rstrip("/"),
        MIRROR.replace("mirror.example.com", "Mirror.Example.Com:443"),
        f"{MIRROR}index.html",
        "https://mirror.example.com/pypi/./simple/",
    ]
    packages = [at(f"own-{number}", spelling, AT_MIRROR) for number, spelling in enumerate(spellings)]
    for mirror in (MIRROR, MIRROR.rstrip("/"), MIRROR.upper().replace("/PYPI/SIMPLE/", "/pypi/simple/index.html")):
        found = read(tmp_path / name, write([*packages, SECRET]), mirror)
        assert taken(found) == ([each.name for each in packages], 1)


@IN_ANY_LOCK
def test_one_release_by_two_spellings_is_one_release(tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str]) -> None:
    found = read(tmp_path / name, write([OWN, at("own", MIRROR.rstrip("/"), AT_MIRROR)]))
    (pin,) = pins(found, "own")
    assert pin.files == (LockedFile("own-1.0-py3-none-any.whl", {"sha256": SHA}),)


@IN_ANY_LOCK
def test_beside_the_mirror_no_other_index_is_the_mirror(tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str]) -> None:
    assert taken(read(tmp_path / name, write([OWN, PUBLIC, SECRET]))) == (["own"], 2)


@IN_ANY_LOCK
def test_a_lock_made_direct_at_one_other_index_is_checked_as_a_whole(
    tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str]
) -> None:
    assert taken(read(tmp_path / name, write([PUBLIC, at("more", f"{PYPI}/", AT_PYPI)]))) == (["more", "public"], 0)


@IN_ANY_LOCK
def test_among_indexes_of_which_none_is_known_nothing_is_guessed(
    tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str]
) -> None:
    secret = at("secret", PRIVATE.replace("://", "://reader:s3cret@"), AT_PRIVATE)
    with pytest.raises(Unreadable) as error:
        read(tmp_path / name, write([PUBLIC, secret]))
    assert f"{PYPI}, {PRIVATE.rstrip('/')}" in str(error.value).replace("/,", ",")
    assert "--lock-index" in str(error.value)
    assert "s3cret" not in str(error.value)


@IN_ANY_LOCK
def test_the_user_says_which_indexes_the_mirror_stands_for(tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str]) -> None:
    text = write([PUBLIC, SECRET, at("gpu", "https://gpu.example.org/whl", "https://gpu.example.org/whl/")])
    both = KnownMirror(MIRROR, stands_for=(f"{PYPI}/", "https://GPU.example.org/whl/"))
    assert taken(read(tmp_path / name, text, both)) == (["gpu", "public"], 1)
    with pytest.raises(Unreadable, match="--lock-index"):
        read(tmp_path / name, text, KnownMirror(MIRROR, stands_for=("https://unknown.example.org/",)))


@pytest.mark.parametrize("proxy", [PROXY, TEAM_PROXY, "http://127.0.0.1:8080/default/simple/", "https://team.example.com/python/simple/"])
@pytest.mark.parametrize(("name", "write"), [("uv.lock", uv_lock), ("pylock.toml", pylock)])
def test_a_proxy_is_the_mirror_and_a_private_index_beside_it_is_not(
    tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str], proxy: str
) -> None:
    found = read(tmp_path / name, write([proxied("public", proxy), SECRET]), KnownMirror(MIRROR, "default"))
    assert taken(found) == (["public"], 1)


def test_a_proxy_beside_the_mirror_itself_is_the_mirror_as_well(tmp_path: Path) -> None:
    found = read(tmp_path / "uv.lock", uv_lock([OWN, proxied("one", PROXY), proxied("two", TEAM_PROXY), SECRET]))
    assert taken(found) == (["one", "own", "two"], 1)


def test_a_proxy_with_direct_links_is_known_by_the_mirrors_files(tmp_path: Path) -> None:
    found = read(tmp_path / "uv.lock", uv_lock([at("public", PROXY, AT_MIRROR), SECRET]))
    assert taken(found) == (["public"], 1)


def test_another_repository_at_the_mirrors_host_is_another_index(tmp_path: Path) -> None:
    beside = at("secret", "https://mirror.example.com/private/simple/", "https://mirror.example.com/private/")
    assert taken(read(tmp_path / "uv.lock", uv_lock([OWN, beside]))) == (["own"], 1)
    with pytest.raises(Unreadable, match="packages of several indexes"):
        read(tmp_path / "uv.lock", uv_lock([PUBLIC, beside]), "https://mirror.example.com/simple/")


SECOND = "http://127.0.0.1:8080/second/simple/"


@pytest.mark.parametrize(
    ("mirror", "projects"),
    [
        (KnownMirror(MIRROR, "first", others={"second": PRIVATE}), ["of-first"]),
        (KnownMirror(PRIVATE, "second", first=False, others={"first": MIRROR}), ["of-second"]),
    ],
)
def test_the_mirrors_of_one_proxy_are_told_apart_by_their_names(tmp_path: Path, mirror: KnownMirror, projects: list[str]) -> None:
    found = read(tmp_path / "uv.lock", uv_lock([proxied("of-first", PROXY), proxied("of-second", SECOND)]), mirror)
    assert taken(found) == (projects, 1)


@pytest.mark.parametrize(
    ("mirror", "proxy"),
    [
        (KnownMirror(MIRROR, "first", others={"second": PRIVATE}), SECOND),
        (KnownMirror(PRIVATE, "second", first=False, others={"first": MIRROR}), PROXY),
        (KnownMirror(PRIVATE, "second", first=False, others={"first": MIRROR}), "http://127.0.0.1:8080/first/simple/"),
    ],
)
def test_the_address_of_another_mirror_at_a_proxy_is_not_the_mirror(tmp_path: Path, mirror: KnownMirror, proxy: str) -> None:
    assert taken(read(tmp_path / "uv.lock", uv_lock([proxied("secret", proxy), PUBLIC]), mirror)) == (["public"], 1)
    with pytest.raises(Unreadable, match="all of its 1 packages come from elsewhere"):
        read(tmp_path / "uv.lock", uv_lock([proxied("secret", proxy)]), mirror)


def test_the_one_index_of_a_lock_is_not_guessed_to_be_the_mirror_if_the_settings_know_it_as_another(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="all of its 1 packages come from elsewhere"):
        read(tmp_path / "uv.lock", uv_lock([SECRET]), KnownMirror(MIRROR, "first", others={"second": PRIVATE.rstrip("/")}))


# From no index ------------------------------------------------------------------------------------------------------------------------

NO_INDEX = {
    "member": '{ editable = "packages/member" }',
    "virtual-member": '{ virtual = "packages/virtual-member" }',
    "folder": '{ directory = "../folder" }',
    "archive": '{ path = "../archive-1.0.tar.gz" }',
    "remote": '{ url = "https://private.example.net/remote-1.0.tar.gz" }',
    "repository": '{ git = "https://private.example.net/repository.git?rev=1#1" }',
    "local": '{ registry = "../wheels" }',
    "local-url": '{ registry = "file:///wheels" }',
    "local-drive": '{ registry = "C:\\\\wheels" }',
    "of-tomorrow": '{ something = "new" }',
}


@pytest.mark.parametrize("index", [MIRROR, PYPI, PROXY])
def test_of_a_uv_lock_what_comes_from_no_index_is_counted_and_left_alone(tmp_path: Path, index: str) -> None:
    public = at("public", index, AT_MIRROR)
    assert taken(read(tmp_path / "uv.lock", uv_lock([public], NO_INDEX))) == (["public"], len(NO_INDEX))


def test_of_a_pylock_what_comes_from_no_index_is_counted_and_left_alone(tmp_path: Path) -> None:
    hashes = f'hashes = {{ sha256 = "{SHA}" }}'
    file = f'{{ url = "file:///wheels/local-1-py3-none-any.whl", {hashes} }}'
    sources = {
        "folder": 'directory = { path = "folder" }',
        "archive": f'archive = {{ url = "https://private.example.net/a.zip", {hashes} }}',
        "repository": 'vcs = { type = "git", url = "https://private.example.net/r.git", commit-id = "1" }',
        "vendored": f'version = "1"\nwheels = [{{ path = "vendored-1-py3-none-any.whl", {hashes} }}]',
        "local": f'version = "1"\nindex = "file:///wheels"\nwheels = [{file}]',
    }
    text = pylock([OWN], sources)
    assert taken(read(tmp_path / "pylock.toml", text)) == (["own"], len(sources))
    app = '\n[[packages]]\nname = "app"\ndirectory = { path = ".", editable = true }\n'
    assert taken(read(tmp_path / "pylock.dev.toml", text + app)) == (["own"], len(sources))


def test_of_a_poetry_lock_what_comes_from_no_index_is_counted_and_left_alone(tmp_path: Path) -> None:
    sources = {"folder": "directory", "archive": "file", "remote": "url", "repository": "git"}
    assert taken(read(tmp_path / "poetry.lock", poetry_lock([OWN], sources))) == (["own"], 4)


@pytest.mark.parametrize("static_urls", [False, True])
def test_of_a_pdm_lock_what_comes_from_no_index_is_counted_and_left_alone(tmp_path: Path, static_urls: bool) -> None:
    sources = {
        "folder": 'path = "./folder"',
        "remote": 'url = "https://private.example.net/r.zip"',
        "repository": 'git = "https://x/r.git"',
    }
    assert taken(read(tmp_path / "pdm.lock", pdm_lock([OWN], sources, static_urls=static_urls))) == (["own"], 3)


# Locks that name no index -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "write"), [("pylock.toml", pylock), ("pdm.lock", lambda packages: pdm_lock(packages, static_urls=True))])
def test_where_files_alone_have_addresses_their_hosts_tell_what_is_the_mirrors(
    tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str]
) -> None:
    own, public, secret = at("own", None, AT_MIRROR), at("public", None, AT_PYPI), at("secret", None, AT_PRIVATE)
    assert taken(read(tmp_path / name, write([own, secret]))) == (["own"], 1)
    assert taken(read(tmp_path / name, write([public]))) == (["public"], 0)
    with pytest.raises(Unreadable, match=r"https://files\.example\.org/, https://private\.example\.net/"):
        read(tmp_path / name, write([public, secret]))
    assert taken(read(tmp_path / name, write([public, secret]), KnownMirror(MIRROR, stands_for=("https://files.example.org",)))) == (
        ["public"],
        1,
    )


def test_the_default_index_of_poetry_is_what_the_mirror_stands_for(tmp_path: Path) -> None:
    default = at("public", None, AT_PYPI)
    assert taken(read(tmp_path / "poetry.lock", poetry_lock([default, SECRET]))) == (["public"], 1)
    assert taken(read(tmp_path / "poetry.lock", poetry_lock([default, OWN, SECRET]))) == (["own"], 2)


# Other programs' locks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "write"), [("poetry.lock", poetry_lock), ("pdm.lock", pdm_lock), ("pylock.dev.toml", pylock)])
def test_a_lock_of_any_program_gives_releases_files_and_lines(tmp_path: Path, name: str, write: Callable[[Sequence[Locked]], str]) -> None:
    found = read(tmp_path / name, write([OWN]))
    (pin,) = pins(found, "own")
    assert (pin.version, pin.files) == ("1.0", (LockedFile("own-1.0-py3-none-any.whl", {"sha256": SHA}),))
    line = (tmp_path / name).read_text(encoding="utf-8").splitlines().index('name = "own"')
    assert (pin.place and pin.place.line) == line
    assert found.matrix
    assert "3.11" in found.requires_python
    assert found.sources[0].kind == name.replace(".dev", "")


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("poetry.lock", "optional = false\n", "markers = \"sys_platform == 'win32'\"\n"),
        ("poetry.lock", "optional = false\n", "markers = {main = \"sys_platform == 'win32'\", dev = \"sys_platform == 'win32'\"}\n"),
        ("pdm.lock", 'groups = ["default"]\nfiles', "marker = \"sys_platform == 'win32'\"\nfiles"),
        ("pylock.toml", 'version = "1.0"\nindex', 'version = "1.0"\nmarker = "sys_platform == \'win32\'"\nindex'),
    ],
)
def test_the_markers_of_any_lock_count(tmp_path: Path, name: str, before: str, after: str) -> None:
    text = {"poetry.lock": poetry_lock, "pdm.lock": pdm_lock, "pylock.toml": pylock}[name]([OWN])
    assert before in text
    (pin,) = pins(read(tmp_path / name, text.replace(before, after)), "own")
    assert {platform for platform, _ in pin.needed or ()} == {"windows-amd64"}
    (pin,) = pins(read(tmp_path / name, text.replace(before, after.replace("win32'", "win32' or"))), "own")
    assert pin.needed is None


def test_files_that_older_programs_wrote_apart_are_read(tmp_path: Path) -> None:
    poetry = (
        '[[package]]\nname = "own"\nversion = "1.0"\n\n[metadata]\nlock-version = "1.1"\npython-versions = "*"\ncontent-hash = "0"\n\n'
        f'[metadata.files]\nown = [{{file = "own-1.0.tar.gz", hash = "sha256:{SHA}"}}]\n'
    )
    (pin,) = pins(read(tmp_path / "poetry.lock", poetry), "own")
    assert pin.files == (LockedFile("own-1.0.tar.gz", {"sha256": SHA}),)
    pdm = (
        '[[package]]\nname = "own"\nversion = "1.0"\n\n[metadata]\nlock_version = "4.2"\n\n'
        f'[metadata.files]\n"own 1.0" = [{{url = "{AT_MIRROR}own-1.0.tar.gz", hash = "sha256:{SHA}"}}]\n'
    )
    (pin,) = pins(read(tmp_path / "pdm.lock", pdm), "own")
    assert pin.files == (LockedFile("own-1.0.tar.gz", {"sha256": SHA}),)


def test_a_pipfile_lock_gives_releases_hashes_and_lines(tmp_path: Path) -> None:
    sources = [{"name": "pypi", "url": MIRROR, "verify_ssl": True}, {"name": "private", "url": PRIVATE}]
    content = {
        "_meta": {"pipfile-spec": 6, "hash": {"sha256": "0"}, "requires": {"python_version": "3.12"}, "sources": sources},
        "default": {
            "own": {"hashes": [f"sha256:{SHA}"], "index": "pypi", "version": "==1.0", "markers": "sys_platform == 'win32'"},
            "unpinned": {"version": "*"},
            "secret": {"index": "private", "version": "==2.0"},
            "unknown": {"index": "of-the-machine", "version": "==2.0"},
            "repository": {"git": "https://private.example.net/r.git", "ref": "1"},
            "folder": {"path": "./folder", "editable": True},
            "archive": {"file": "archive.whl", "hashes": []},
        },
        "develop": {"own": {"hashes": [f"sha256:{SHA}"], "version": "==1.0"}, "tool": {"version": "==3.0"}},
    }
    found = read(tmp_path / "Pipfile.lock", json.dumps(content, indent=4))
    assert taken(found) == (["own", "tool", "unpinned"], 5)
    (pin,) = pins(found, "own")
    assert (pin.version, pin.hashes, pin.needed) == ("1.0", {f"sha256:{SHA}"}, None)
    lines = (tmp_path / "Pipfile.lock").read_text(encoding="utf-8").splitlines()
    assert pin.place is not None
    assert lines[pin.place.line - 1].strip() == '"own": {'
    assert pins(found, "unpinned") == ()
    assert found.requires_python == "==3.12.*"


def test_what_uv_lets_one_choose_counts_as_needed(tmp_path: Path) -> None:
    text = uv_lock([OWN]).replace(
        '{ name = "own" }', "{ name = \"own\", marker = \"extra == 'extra-3-app-cpu' and sys_platform == 'win32'\" }"
    )
    (pin,) = pins(read(tmp_path / "uv.lock", text), "own")
    assert {platform for platform, _ in pin.needed or ()} == {"windows-amd64"}


def test_a_lock_is_told_by_what_stands_in_it_where_its_name_says_nothing(tmp_path: Path) -> None:
    texts = {"uv.lock": uv_lock([OWN]), "pylock.toml": pylock([OWN]), "poetry.lock": poetry_lock([OWN]), "pdm.lock": pdm_lock([OWN])}
    for kind, text in texts.items():
        for name in ("script.py.lock", "other.toml"):
            found = read(tmp_path / name, text)
            assert (found.sources[0].kind, taken(found)) == (kind, (["own"], 0))
    found = read(tmp_path / "other.lock", '{"_meta": {}, "default": {"own": {"version": "==1.0"}}}')
    assert (found.sources[0].kind, taken(found)) == ("Pipfile.lock", (["own"], 0))


def test_a_lock_may_be_given_as_requirements(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(pylock([OWN]), encoding="utf-8")
    assert [want.project for want in read_order([], [], [tmp_path / "pylock.toml"], MIRROR).wants] == ["own"]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_requirements_that_are_called_a_lock_are_requirements(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("own==1.0\n", encoding="utf-8")
    for order in (read_order([], [tmp_path / name], [], MIRROR), read_order([], [], [tmp_path / name], MIRROR)):
        assert (order.sources[0].kind, taken(order)) == ("requirements", (["own"], 0))


def test_a_wheel_tells_the_version_that_a_pylock_leaves_out(tmp_path: Path) -> None:
    text = pylock([OWN]).replace('\nversion = "1.0"\n', "\n")
    assert [pin.version for pin in pins(read(tmp_path / "pylock.toml", text), "own")] == ["1.0"]


def test_a_project_that_a_lock_pins_and_a_name_asks_for_stays_pinned(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text(uv_lock([OWN]), encoding="utf-8")
    (want,) = read_order(["own"], [tmp_path / "uv.lock"], [], MIRROR).wants
    assert isinstance(want, Want)
    assert [pin.version for pin in want.pins] == ["1.0"]


# Nothing to look at -------------------------------------------------------------------------------------------------------------------

EMPTY = {
    "uv.lock": ['version = 1\nrequires-python = ">=3.11"\n', uv_lock([])],
    "pylock.toml": ['lock-version = "1.0"\n', pylock([])],
    "poetry.lock": [poetry_lock([]), "[metadata]\n"],
    "pdm.lock": [pdm_lock([])],
    "Pipfile.lock": ["{}", '{"_meta": {}, "default": {}, "develop": {}}'],
    "requirements.txt": ["", "# nothing\n"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in EMPTY.items() for text in ("", " \n", *texts)])
def test_an_input_without_packages_is_no_sound_one(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(Unreadable, match=r"it is empty|names no (package|requirements)|has no dependencies") as error:
        read(tmp_path / name, text)
    assert str(error.value).startswith(f"{tmp_path / name}: ")


def test_an_input_that_leaves_nothing_is_no_sound_one_beside_another(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text(uv_lock([OWN]), encoding="utf-8")
    (tmp_path / "poetry.lock").write_text(poetry_lock([], {"folder": "directory"}), encoding="utf-8")
    with pytest.raises(Unreadable, match="all of its 1 packages come from elsewhere"):
        read_order(["own"], [tmp_path / "uv.lock", tmp_path / "poetry.lock"], [], MIRROR)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Pipfile", "give the Pipfile.lock"),
        ("pixi.lock", "conda"),
        ("Cargo.lock", "Rust"),
        ("setup.py", "setup.py"),
        ("notes.md", "no lock that is known"),
        ("other.toml", "no lock that is known"),
    ],
)
def test_what_is_no_lock_is_told_by_what_it_is(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(tmp_path / name, 'a = "b"\n')


def test_what_is_no_file_is_told_by_what_it_is(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path, "it is a folder; give a file in it"),
        (Path("/dev/null"), "it is no regular file"),
        (Path("-"), "standard input is not read"),
    ):
        with pytest.raises(Unreadable, match=why):
            read_order([], [path], [], MIRROR)
    for name in ("uv.lock", "pyproject.toml", "Pipfile.lock"):
        (tmp_path / name).write_bytes("version = 1\n".encode("utf-16"))
        with pytest.raises(Unreadable, match="no text in UTF-8; save it as UTF-8"):
            read_order([], [tmp_path / name], [], MIRROR)


def test_what_a_lock_does_not_bind_to_an_index_may_come_from_another(tmp_path: Path) -> None:
    assert read(tmp_path / "pdm.lock", pdm_lock([OWN])).other_indexes
    assert not read(tmp_path / "pdm.lock", pdm_lock([OWN], static_urls=True)).other_indexes
    assert not read(tmp_path / "poetry.lock", poetry_lock([OWN])).other_indexes


LONG = "9" * 5000


@pytest.mark.parametrize(
    "marker", [f"python_version >= '{LONG}'", "python_version >=", "'dev' in dependency_groups", "python_version ~= 'x'", "(" * 5000]
)
def test_where_a_marker_tells_nothing_the_package_is_needed(tmp_path: Path, marker: str) -> None:
    text = uv_lock([OWN]).replace('{ name = "own" }', f'{{ name = "own", marker = "{marker}" }}')
    (pin,) = pins(read(tmp_path / "uv.lock", text), "own")
    assert len(pin.needed or ()) == 24


@pytest.mark.parametrize("requires_python", [f">={LONG}", ">=3.x", "nonsense"])
def test_a_requires_python_that_tells_nothing_bounds_nothing(tmp_path: Path, requires_python: str) -> None:
    (pin,) = pins(read(tmp_path / "uv.lock", uv_lock([OWN]).replace(">=3.11", requires_python)), "own")
    assert len(pin.needed or ()) == 36


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("uv.lock", 'version = 1\n[[package]]\nname = "x"\n', "`package[0]` has no `source` and so is not as uv writes it"),
        ("uv.lock", 'version = 1\n[package]\nname = "x"\n', "`package` is not as uv writes it"),
        ("uv.lock", "version = true\npackage = []\n", "`version` is not as uv writes it"),
        ("uv.lock", "version = 2\n", "its format has another version than 1"),
        ("uv.lock", '[[project]]\nname = "x"\n', "the document has no `version` and so is not as uv writes it"),
        ("pylock.toml", 'lock-version = "2.0"\n', "its lock-version is '2.0', and only 1 is known"),
        ("pylock.toml", 'lock-version = "1.0"\npackages = ["x"]\n', "`packages[0]` is not as the specification of pylock.toml has it"),
        ("poetry.lock", 'package = [{name = ["x"], version = "1"}]\n', "`package[0].name` is not as Poetry writes it"),
        ("pdm.lock", "[[package]]\n", "`package[0]` has no `name` and so is not as PDM writes it"),
        ("Pipfile.lock", '{"default": {"x": "==1"}}', "is not as Pipenv writes it"),
        ("Pipfile.lock", "[1]", "it is no Pipfile.lock"),
        ("Pipfile.lock", "{", "it is no JSON that can be read"),
        ("uv.lock", uv_lock([at("-x", MIRROR, AT_MIRROR)]), "it has a package called '-x', which cannot be the name of one"),
        ("uv.lock", uv_lock([OWN]).replace('version = "1.0"\n', ""), "'own' has no version there"),
    ],
)
def test_what_is_wrong_in_a_lock_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    with pytest.raises(Unreadable) as error:
        read(tmp_path / name, text)
    assert says in str(error.value)
