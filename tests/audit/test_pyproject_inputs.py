"""A pyproject.toml is read as `uv lock` reads it: the mirror is asked about the projects that uv asks it about, and about no other."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.findings import Fault, Level
from proxy.audit.inputs import read_order
from proxy.audit.wanted import Omission, Order, Unreadable
from tests.audit.conftest import Audit, Check, as_json
from tests.clients import Uv
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

URL = "https://mirror.example.com/simple/"
Files = dict[str, str]

APP = '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n'
PRIVATE = '[[tool.uv.index]]\nname = "private"\nurl = "@private@"\nexplicit = true\n'
SECOND = '[[tool.uv.index]]\nname = "second"\nurl = "@private@"\n'
DEMO = f'{APP}dependencies = ["demo"]\n'
BOTH = f'{APP}dependencies = ["demo", "needs-corp", "corp"]\n{PRIVATE}'
CORP = '[project]\nname = "corp"\nversion = "1"\nrequires-python = ">=3.11"\n'
MEMBER = APP.replace("app", "member")

FILES: dict[str, Files] = {
    "dependencies": {"pyproject.toml": DEMO},
    "extras and groups": {
        "pyproject.toml": f'{DEMO}[project.optional-dependencies]\nx = ["other"]\ny = ["app[x]"]\n'
        '[dependency-groups]\na-b = ["leaf"]\nc = [{ include-group = "A_B" }]\n'
    },
    "development dependencies of old": {"pyproject.toml": f'{DEMO}[tool.uv]\ndev-dependencies = ["other"]\n'},
    "another index": {"pyproject.toml": f'{BOTH}[tool.uv.sources]\ncorp = {{ index = "private" }}\n'},
    "another spelling": {"pyproject.toml": f'{BOTH}[tool.uv.sources]\nCORP = [{{ index = "private" }}]\n'},
    "a source that nobody requires": {
        "pyproject.toml": f'{APP}dependencies = ["needs-other"]\n{PRIVATE}[tool.uv.sources]\nother = {{ index = "private" }}\n'
    },
    "a source on some platforms": {
        "pyproject.toml": f'{APP}dependencies = ["both"]\n{PRIVATE}[tool.uv.sources]\n'
        'both = [{ index = "private", marker = "sys_platform == \'linux\'" }]\n'
    },
    "sources for all platforms": {
        "pyproject.toml": f'{BOTH}[tool.uv.sources]\ncorp = [{{ index = "private", marker = "sys_platform == \'linux\'" }}, '
        '{ index = "private", marker = "sys_platform != \'linux\'" }]\n'
    },
    "a source where it is needed": {
        "pyproject.toml": f'{APP}dependencies = ["needs-corp", "corp; sys_platform == \'linux\'"]\n{PRIVATE}[tool.uv.sources]\n'
        'corp = [{ index = "private", marker = "sys_platform == \'linux\'" }]\n'
    },
    "a URL on one platform": {"pyproject.toml": f'{APP}dependencies = ["corp @ @corp@ ; sys_platform == \'linux\'", "needs-corp"]\n'},
    "a URL source for the rest of the platforms not given": {
        "pyproject.toml": f'{APP}dependencies = ["both"]\n[tool.uv.sources]\n'
        'both = [{ url = "@both@", marker = "sys_platform == \'linux\'" }]\n'
    },
    "a source of an extra": {
        "pyproject.toml": f'{APP}dependencies = ["corp"]\n[project.optional-dependencies]\nX = ["corp"]\n{PRIVATE}'
        '[tool.uv.sources]\ncorp = [{ index = "private", extra = "x" }]\n'
    },
    "a source of an extra that excludes another": {
        "pyproject.toml": f'{APP}dependencies = ["both"]\n[project.optional-dependencies]\nx = ["both"]\ny = ["both"]\n{PRIVATE}'
        '[tool.uv]\nconflicts = [[{ extra = "x" }, { extra = "y" }]]\n[tool.uv.sources]\nboth = [{ index = "private", extra = "x" }]\n'
    },
    "a source of a group": {
        "pyproject.toml": f'{DEMO}[dependency-groups]\ndev = ["corp"]\nall = [{{ include-group = "dev" }}]\n{PRIVATE}'
        '[tool.uv.sources]\ncorp = [{ index = "private", group = "dev" }]\n'
    },
    "a URL": {"pyproject.toml": f'{APP}dependencies = ["needs-corp", "corp @ @corp@"]\n'},
    "a URL among the sources": {"pyproject.toml": f'{BOTH}[tool.uv.sources]\ncorp = {{ url = "@corp@" }}\n'},
    "a path": {
        "pyproject.toml": f'{BOTH}[tool.uv.sources]\ncorp = {{ path = "lib", editable = true }}\n',
        "lib/pyproject.toml": f'{CORP}dependencies = ["other"]\n[dependency-groups]\ndev = ["never"]\n'
        '[project.optional-dependencies]\ny = ["never"]\n',
    },
    "a path with an extra": {
        "pyproject.toml": f'{APP}dependencies = ["corp[x]"]\n[tool.uv.sources]\ncorp = {{ path = "lib" }}\n',
        "lib/pyproject.toml": f'{CORP}dependencies = ["corp[y]"]\n[project.optional-dependencies]\nx = ["other"]\ny = ["leaf"]\n',
    },
    "a path with sources of its own": {
        "pyproject.toml": f'{APP}dependencies = ["lib", "demo"]\n[tool.uv.sources]\nlib = {{ path = "lib" }}\n',
        "lib/pyproject.toml": f'{APP.replace("app", "lib")}dependencies = ["corp"]\n{PRIVATE}'
        '[tool.uv.sources]\ncorp = { index = "private" }\n',
    },
    "a workspace": {
        "pyproject.toml": f'{BOTH}[tool.uv.sources]\ncorp = {{ workspace = true }}\n[tool.uv.workspace]\nmembers = ["m/*"]\n'
        'exclude = ["m/apart"]\n',
        "m/corp/pyproject.toml": f'{CORP}dependencies = ["other"]\n',
        "m/member/pyproject.toml": f'{MEMBER}[dependency-groups]\ndev = ["leaf"]\n',
        "m/apart/pyproject.toml": f'{APP.replace("app", "apart")}dependencies = ["never"]\n',
    },
    "a workspace without a project": {
        "pyproject.toml": '[tool.uv.workspace]\nmembers = ["member"]\n',
        "member/pyproject.toml": f'{MEMBER}dependencies = ["other"]\n',
    },
    "sources of a workspace for its members": {
        "pyproject.toml": f'{DEMO}{PRIVATE}[tool.uv.sources]\ncorp = {{ index = "private" }}\n[tool.uv.workspace]\nmembers = ["member"]\n',
        "member/pyproject.toml": f'{MEMBER}dependencies = ["corp"]\n',
    },
    "sources of a member before those of the workspace": {
        "pyproject.toml": f'{DEMO}[tool.uv.sources]\nboth = {{ url = "@both@" }}\n[tool.uv.workspace]\nmembers = ["member"]\n',
        "member/pyproject.toml": f'{MEMBER}dependencies = ["both"]\n{PRIVATE}[tool.uv.sources]\nboth = {{ index = "private" }}\n',
    },
    "a member that only others require": {
        "pyproject.toml": f'{APP}dependencies = ["needs-corp"]\n[tool.uv.workspace]\nmembers = ["corp"]\n',
        "corp/pyproject.toml": CORP,
    },
    "overrides": {"pyproject.toml": f'{APP}dependencies = ["needs-corp"]\n[tool.uv]\noverride-dependencies = ["corp @ @corp@"]\n'},
    "overrides with a source": {
        "pyproject.toml": f'{APP}dependencies = ["needs-corp"]\n{PRIVATE}[tool.uv]\noverride-dependencies = ["corp"]\n'
        '[tool.uv.sources]\ncorp = { index = "private" }\n'
    },
    "constraints": {"pyproject.toml": f'{APP}dependencies = ["old"]\n[tool.uv]\nconstraint-dependencies = ["old < 2", "other == 1"]\n'},
    "overrides of a version": {"pyproject.toml": f'{APP}dependencies = ["old>=2"]\n[tool.uv]\noverride-dependencies = ["old==1.0"]\n'},
    "what is excluded": {"pyproject.toml": f'{APP}dependencies = ["needs-corp"]\n[tool.uv]\nexclude-dependencies = ["corp"]\n'},
    "what is required and excluded": {
        "pyproject.toml": f'{APP}dependencies = ["demo", "other"]\n[tool.uv]\nexclude-dependencies = ["other"]\n'
    },
    "a workspace of its root and odd patterns": {
        "pyproject.toml": f'{DEMO}[tool.uv.workspace]\nmembers = [".", "./member", "nosuch/*"]\n',
        "member/pyproject.toml": f'{MEMBER}dependencies = ["other"]\n',
    },
    "an index for one project, after which no other is asked": {
        "pyproject.toml": f'{APP}dependencies = ["corp"]\n{SECOND}[tool.uv.sources]\ncorp = {{ index = "second" }}\n'
    },
    "markers of no supported Python": {
        "pyproject.toml": f'{APP}dependencies = ["demo", "corp; python_version < \'3\'", "leaf; implementation_name == \'pypy\'"]\n'
    },
    "environments": {
        "pyproject.toml": f'{APP}dependencies = ["demo", "corp; sys_platform == \'win32\'", "both; python_version < \'3.12\'"]\n'
        "[tool.uv]\nenvironments = [\"sys_platform == 'linux' and python_version >= '3.12'\"]\n"
    },
    "environments that what is required is not for": {
        "pyproject.toml": f'{APP}dependencies = ["windows-needs-corp"]\n[tool.uv]\nenvironments = ["sys_platform != \'win32\'"]\n'
    },
    "environments that what is required is for": {
        "pyproject.toml": f'{APP}dependencies = ["windows-needs-other"]\n[tool.uv]\nenvironments = ["sys_platform == \'win32\'"]\n'
    },
    "one environment": {
        "pyproject.toml": f'{APP}dependencies = ["demo", "corp; os_name == \'nt\'"]\n'
        "[tool.uv]\nenvironments = \"sys_platform == 'linux'\"\n"
    },
    "no environments": {
        "pyproject.toml": f'{APP}dependencies = ["demo", "other; sys_platform == \'win32\'"]\n[tool.uv]\nenvironments = []\n'
    },
    "environments of another machine": {
        "pyproject.toml": f'{APP}dependencies = ["demo", "corp; sys_platform == \'win32\'", "other; platform_machine == \'s390x\'"]\n'
        "[tool.uv]\nenvironments = [\"platform_machine == 's390x' and sys_platform == 'linux'\", \"implementation_name == 'pypy' and "
        "sys_platform == 'darwin'\"]\n"
    },
    "environments of the first releases of a Python": {
        "pyproject.toml": f'{APP}dependencies = ["demo", "other; python_full_version < \'3.12.2\'"]\n'
        "[tool.uv]\nenvironments = [\"python_full_version < '3.11.2'\"]\n"
    },
    "environments that are required": {
        "pyproject.toml": f'{APP}dependencies = ["demo", "other; sys_platform == \'win32\'"]\n'
        "[tool.uv]\nrequired-environments = [\"sys_platform == 'linux'\"]\n"
    },
    "environments of a workspace": {
        "pyproject.toml": f'{DEMO}[tool.uv]\nenvironments = ["sys_platform == \'linux\'"]\n[tool.uv.workspace]\nmembers = ["member"]\n',
        "member/pyproject.toml": f'{MEMBER}dependencies = ["corp; sys_platform == \'win32\'", "other"]\n'
        "[tool.uv]\nenvironments = [\"sys_platform == 'win32'\"]\n",
    },
    "a mark": {"pyproject.toml": f"\ufeff{DEMO}"},
}
"""As they are in folders; names of files to what is in them."""


def write(folder: Path, files: Files, **instead: str) -> Path:
    for name, content in files.items():
        text = content
        for key, value in instead.items():
            text = text.replace(f"@{key}@", value)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "pyproject.toml"


def read(path: Path) -> Order:
    return read_order([], [path], [], URL)


def told(found: Order) -> list[tuple[Omission, str]]:
    return [(each.omission, each.text) for each in found.sources[0].left_out]


@pytest.fixture
async def private() -> AsyncIterator[BrokenMirror]:
    """An index of private projects."""
    async with BrokenMirror() as index:
        for name in ("corp", "both"):
            index.add(f"{name}-1.0-py3-none-any.whl")
        yield index


@pytest.fixture
def stocked(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror of public projects; `corp` is none of them."""
    needs = {"needs-corp": ["corp"], "needs-other": ["other"], "other": ["leaf"]}
    needs |= {f"windows-needs-{each}": [f"{each}; sys_platform == 'win32'"] for each in ("corp", "other")}
    for name in ("demo", "both", "leaf", "old", "other", *needs):
        wheel = f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
        mirror.add(wheel, make_wheel(wheel, requires_dist=needs.get(name, [])), upload_time="2024-01-01T00:00:00Z")
    newest = "old-2.0-py3-none-any.whl"
    mirror.add(newest, make_wheel(newest, requires_dist=["leaf"]), upload_time="2024-01-01T00:00:00Z")
    return mirror


def pages(mirror: BrokenMirror) -> set[str]:
    return {each.name.removeprefix("page:") for each in mirror.asked if each.kind == "page"}


@pytest.mark.parametrize("name", FILES)
async def test_the_mirror_is_asked_about_what_the_real_uv_asks_it_about(
    name: str, stocked: BrokenMirror, private: BrokenMirror, audit: Audit, uv: Uv, tmp_path: Path
) -> None:
    addresses = {each: private.file_url(f"{each}-1.0-py3-none-any.whl") for each in ("corp", "both")}
    path = write(tmp_path / "project", FILES[name], private=private.url, **addresses)
    del uv.environment["UV_NO_CONFIG"]
    locked = await uv.lock(path.parent, stocked.url)
    assert locked.ok, locked
    asked_by_uv = pages(stocked)
    stocked.forget()
    private.forget()
    if not asked_by_uv:
        with pytest.raises(Unreadable, match="nothing of it comes from the mirror"):
            await audit(lock=path)
        return
    report = await audit(lock=path)
    assert pages(stocked) == asked_by_uv
    assert report.exit_status == 0, report.findings
    assert private.asked == []


OF_THE_MIRROR = '[[tool.{0}.source]]\nname = "pypi"\nurl = "@mirror@"\n'
OF_POETRY = f'{OF_THE_MIRROR.format("poetry")}[[tool.poetry.source]]\nname = "Priv"\nurl = "@private@"\npriority = "explicit"\n'
OF_PDM = f'{OF_THE_MIRROR.format("pdm")}[[tool.pdm.source]]\nname = "priv"\nurl = "@private@"\n'
BOUND_BY_OTHERS: dict[str, str] = {
    "a source of Poetry": f'{OF_POETRY}[tool.poetry.dependencies]\npython = "^3.11"\nCorp = {{ source = "priv" }}\n',
    "a source of Poetry on some platforms": f"{OF_POETRY}[tool.poetry.dependencies]\n"
    'corp = [{ version = "*", source = "priv", markers = "sys_platform == \'win32\'" }, '
    '{ version = "1", source = "priv", markers = "sys_platform != \'win32\'" }]\n',
    "a path of Poetry": '[tool.poetry.dependencies]\ncorp = { path = "../corp" }\n',
    "a repository of Poetry": '[tool.poetry.dependencies]\ncorp = { git = "https://git.example.com/corp" }\n',
    "a source that Poetry does not know": '[tool.poetry.dependencies]\ncorp = { source = "nosuch" }\n',
    "a source of PDM": f'{OF_PDM}include_packages = ["corp"]\n',
    "a pattern of PDM": f'{OF_PDM}include_packages = ["CO*"]\n',
    "what PDM does not ask the mirror about": f'{OF_THE_MIRROR.format("pdm")}exclude_packages = ["corp"]\n'
    '[[tool.pdm.source]]\nname = "priv"\nurl = "@private@"\n',
}
"""Tables in which other programs than uv bind `corp`."""


@pytest.mark.parametrize("name", BOUND_BY_OTHERS)
@pytest.mark.parametrize("required", ["corp", "needs-corp"])
async def test_what_other_programs_bind_elsewhere_is_not_asked_about(
    name: str, required: str, stocked: BrokenMirror, private: BrokenMirror, audit: Audit, tmp_path: Path
) -> None:
    text = f'{APP}dependencies = ["demo", "needs-corp", "corp"]\n{BOUND_BY_OTHERS[name]}'
    if required != "corp" and "include_packages" in text:
        # The patterns count whoever requires it.
        text = text.replace(', "corp"]\n', "]\n", 1)
    report = await audit(lock=write(tmp_path, {"pyproject.toml": text}, private=private.url, mirror=stocked.url))
    assert pages(stocked) == {"demo", "needs-corp"}
    assert private.asked == []
    assert report.exit_status == 0, report.findings
    if required == "corp" or "include_packages" not in text:
        assert report.sources[0].elsewhere == 1


@pytest.mark.parametrize(
    "table",
    [
        f'{OF_POETRY}[tool.poetry.dependencies]\ncorp = {{ source = "PyPI" }}\n',
        '[tool.poetry.dependencies]\ncorp = { source = "pypi" }\n',
        f'{OF_PDM}exclude_packages = ["corp"]\n',
        OF_POETRY + '[tool.poetry.dependencies]\ncorp = "*"\n',
    ],
)
async def test_what_other_programs_bind_to_the_mirror_is_asked_about(
    table: str, stocked: BrokenMirror, private: BrokenMirror, audit: Audit, tmp_path: Path
) -> None:
    text = f'{APP}dependencies = ["demo", "corp"]\n{table}'
    await audit(lock=write(tmp_path, {"pyproject.toml": text}, private=private.url, mirror=stocked.url))
    assert pages(stocked) == {"demo", "corp"}


@pytest.mark.parametrize(
    "table",
    [
        OF_POETRY.replace("explicit", "supplemental"),
        OF_PDM,
        f'{OF_PDM}include_packages = ["x-*"]\n',
        OF_POETRY.replace("explicit", "primary"),
    ],
)
async def test_absence_is_no_fault_where_another_program_asks_another_index(
    table: str, stocked: BrokenMirror, private: BrokenMirror, audit: Audit, tmp_path: Path
) -> None:
    text = f'{APP}dependencies = ["demo", "nosuch", "old>2"]\n{table}'
    report = await audit(lock=write(tmp_path, {"pyproject.toml": text}, private=private.url, mirror=stocked.url))
    assert {each.level for each in report.findings} == {Level.NOTE}
    assert {each.fault for each in report.findings} == {Fault.PROJECT_ABSENT, Fault.RELEASE_ABSENT}


def test_a_path_of_poetry_is_read_for_what_it_needs(tmp_path: Path) -> None:
    table = '[tool.poetry.dependencies]\ncorp = { path = "lib" }\n'
    files = {"pyproject.toml": f'{APP}dependencies = ["corp"]\n{table}', "lib/pyproject.toml": f'{CORP}dependencies = ["other"]\n'}
    found = read(write(tmp_path, files))
    assert ([want.project for want in found.wants], told(found)) == (["other"], [(Omission.PATH, "corp")])


UNREAD: dict[str, tuple[str, str]] = {
    "a group of Poetry": ('[tool.poetry.group.x.dependencies]\nnosuch = "*"\n', "[tool.poetry.group.x.dependencies]"),
    "Poetry's for development": ('[tool.poetry.dev-dependencies]\nnosuch = "*"\n', "[tool.poetry.dev-dependencies]"),
    "PDM's": ('[tool.pdm.dev-dependencies]\nx = ["nosuch"]\n', "[tool.pdm.dev-dependencies]"),
    "Hatch's": ('[tool.hatch.envs.x]\ndependencies = ["nosuch"]\n', "[tool.hatch.envs.x]"),
    "more of Hatch's": ('[tool.hatch.envs.y]\nextra-dependencies = ["nosuch"]\n', "[tool.hatch.envs.y]"),
    "Rye's": ('[tool.rye]\ndev-dependencies = ["nosuch"]\n', "dev-dependencies in [tool.rye]"),
}
"""Tables with dependencies that are not read, and how they are told."""


@pytest.mark.parametrize("name", UNREAD)
async def test_tables_of_other_programs_are_told_and_never_sound(name: str, stocked: BrokenMirror, audit: Audit, tmp_path: Path) -> None:
    table, title = UNREAD[name]
    report = await audit(lock=write(tmp_path, {"pyproject.toml": DEMO + table}))
    (source,) = report.sources
    assert [(each.omission, each.text) for each in source.incomplete] == [(Omission.TOOL, title)]
    assert (report.exit_status, source.elsewhere) == (2, 0)
    with pytest.raises(Unreadable, match="which is not read"):
        read(write(tmp_path, {"pyproject.toml": APP + table}))


@pytest.mark.parametrize(
    "table",
    [
        "[tool.poetry.group.x.dependencies]\nDemo = { allow-prereleases = true }\n",
        '[tool.poetry.dependencies]\npython = "^3.11"\n',
        "[tool.poetry]\npackage-mode = false\n",
        '[tool.hatch.envs.x]\nscripts.x = "y"\n',
        "[tool.pdm.dev-dependencies]\n",
        "[tool]\npoetry = 1\npdm = { source = [1, { url = 2 }] }\nhatch = { envs = { x = 3 } }\n",
    ],
)
def test_tables_of_other_programs_without_more_dependencies_leave_nothing_out(table: str, tmp_path: Path) -> None:
    assert told(read(write(tmp_path, {"pyproject.toml": DEMO + table}))) == []


def test_requirements_of_a_build_are_counted(tmp_path: Path) -> None:
    found = read(write(tmp_path, {"pyproject.toml": f'{DEMO}[build-system]\nrequires = ["hatchling>=1"]\n'}))
    assert told(found) == [(Omission.BUILD, "hatchling>=1")]
    assert (found.sources[0].elsewhere, found.sources[0].incomplete) == (0, ())


def test_all_origins_of_a_dependency_are_counted(tmp_path: Path) -> None:
    both = '"demo", "demo @ https://files.example.com/demo-1.zip ; sys_platform == \'win32\'"'
    found = read(write(tmp_path, {"pyproject.toml": f"{APP}dependencies = [{both}]\n"}))
    assert ([want.project for want in found.wants], told(found)) == (["demo"], [(Omission.URL, "demo")])
    sources = (
        '[tool.uv.sources]\ndemo = [{ index = "private", marker = "sys_platform == \'win32\'" }, '
        '{ git = "https://git.example.com/x", marker = "sys_platform == \'darwin\'" }]\n'
    )
    found = read(write(tmp_path, {"pyproject.toml": DEMO + PRIVATE + sources}))
    assert ([want.project for want in found.wants], told(found)) == (["demo"], [(Omission.INDEX, "demo"), (Omission.GIT, "demo")])


UNMET = {
    "of an extra": '[project.optional-dependencies]\nx = ["old>9"]\n',
    "of a group": '[dependency-groups]\nx = ["old>9"]\n',
    "of an override": '[tool.uv]\noverride-dependencies = ["old>=9"]\n',
    "that an override replaces": '[dependency-groups]\nx = ["old>9"]\n[tool.uv]\noverride-dependencies = ["old>=1"]\n',
    "of a constraint": '[tool.uv]\nconstraint-dependencies = ["old>=9"]\n',
    "of a constraint on what nobody requires": '[tool.uv]\nconstraint-dependencies = ["other>=9"]\n',
    "in no environment": "[dependency-groups]\nx = [\"old>9; python_version < '3'\"]\n",
    "in an environment that is not locked for": "[dependency-groups]\nx = [\"old>9; sys_platform == 'win32'\"]\n"
    "[tool.uv]\nenvironments = [\"sys_platform == 'linux'\"]\n",
    **{
        f"old{each}": f'[dependency-groups]\nx = ["old{each}"]\n'
        for each in (
            *(">=9", "==9", "==9.*", "~=3.0", ">2", ">=2,<2", "<1.0", ">=9; sys_platform == 'win32'", "===9.0"),
            *(">=2", "==2", "==1.*", "~=1.0", ">1", "<2", ">=2; sys_platform == 'win32'", "!=2.0", "===2.0"),
        )
    },
    **{
        each: f'[dependency-groups]\nx = ["{each}"]\n'
        for each in (
            *("early", "early>=1.0a1", "early>=0.1", "early<1", "mixed>1.0", "mixed>=2.0rc1", "mixed>=2", "mixed<2,>1.0"),
            *("yanked", "yanked>=1", "yanked==1.0", "yanked==1.*", "partly>=1", "partly>1", "local==1.0", "local>1.0", "local<=1.0"),
        )
    },
}
"""More of a project that requires `old`, of which there are 1.0 and 2.0."""


@pytest.mark.parametrize("name", UNMET)
async def test_a_requirement_that_no_release_meets_is_an_error_where_the_real_uv_fails(
    name: str, stocked: BrokenMirror, audit: Audit, uv: Uv, tmp_path: Path
) -> None:
    for filename in ("early-1.0rc1", "mixed-1.0", "mixed-2.0rc1", "local-1.0+x", "partly-1.0"):
        stocked.add(f"{filename}-py3-none-any.whl", upload_time="2024-01-01T00:00:00Z")
    for filename in ("yanked-1.0", "partly-2.0"):
        stocked.add(f"{filename}-py3-none-any.whl", upload_time="2024-01-01T00:00:00Z", yanked=True)
    required = "demo" if name[:3] in {"old", "ear", "mix", "yan", "par", "loc"} else "old"
    path = write(tmp_path / "project", {"pyproject.toml": f'{APP}dependencies = ["{required}"]\n{UNMET[name]}'})
    del uv.environment["UV_NO_CONFIG"]
    locked = await uv.lock(path.parent, stocked.url)
    report = await audit(lock=path)
    errors = [each.fault for each in report.findings if each.level is not Level.NOTE]
    assert errors == ([] if locked.ok else [Fault.RELEASE_ABSENT]), (locked, report.findings)


async def test_a_requirement_on_the_way_that_no_release_meets_is_a_note(
    stocked: BrokenMirror, audit: Audit, uv: Uv, tmp_path: Path
) -> None:
    for version, needs in (("2.0", "old>=9"), ("1.0", "old")):
        wheel = f"choosy-{version}-py3-none-any.whl"
        stocked.add(wheel, make_wheel(wheel, requires_dist=[needs]), upload_time="2024-01-01T00:00:00Z")
    path = write(tmp_path / "project", {"pyproject.toml": f'{APP}dependencies = ["choosy"]\n'})
    # uv goes back to the older release.
    assert (await uv.lock(path.parent, stocked.url)).ok
    report = await audit(lock=path)
    assert [(each.project, each.fault, each.level) for each in report.findings] == [("old", Fault.RELEASE_ABSENT, Level.NOTE)]


async def test_packages_from_elsewhere_are_counted_and_named_in_every_form(
    stocked: BrokenMirror, private: BrokenMirror, check: Check, tmp_path: Path
) -> None:
    text = (
        f'{APP}dependencies = ["demo", "corp", "tool", "lib", "direct @ https://u:s3cret@host.example.com/d.zip?s3cret"]\n{PRIVATE}'
        '[tool.uv.sources]\ncorp = { index = "private" }\ntool = { git = "https://u:s3cret@host.example.com/t.git" }\n'
        'lib = { path = "lib" }\n'
    )
    path = write(tmp_path / "project", {"pyproject.toml": text}, private=private.url)
    done = await check("--lock", str(path), "--format", "json", "-q")
    assert done.returncode == 0, done
    (source,) = as_json(done)["sources"]
    assert (source["elsewhere"], source["complete"]) == (4, True)
    assert {each["text"]: each["why"] for each in source["left_out"]} == {"corp": "index", "tool": "git", "lib": "path", "direct": "url"}
    assert pages(stocked) == {"demo"}
    for form in ("table", "html", "junit", "github"):
        done = await check("--lock", str(path), "--format", form, "-q")
        assert done.returncode == 0, done
        assert "s3cret" not in done.stdout + done.stderr
        for name in ("corp", "tool", "lib", "direct"):
            assert name in done.stdout, (form, name)


async def test_what_only_a_build_tells_is_never_sound(stocked: BrokenMirror, check: Check, tmp_path: Path) -> None:
    text = f'{APP}dynamic = ["dependencies"]\n[dependency-groups]\ndev = ["demo"]\n'
    path = write(tmp_path / "project", {"pyproject.toml": text})
    said = {"table": "Not all could be checked", "json": '"complete": false', "html": "Not all could be checked"}
    for form, words in (said | {"junit": "<error", "github": "::warning"}).items():
        done = await check("--lock", str(path), "--format", form, "-q")
        assert done.returncode == 2, done
        assert words in done.stdout
        assert "Sound" not in done.stdout
        assert "dependencies of " in done.stdout
    alone = write(tmp_path / "alone", {"pyproject.toml": f'{APP}dynamic = ["dependencies"]\n'})
    done = await check("--lock", str(alone), "-q")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "dynamic" in done.stderr


async def test_absence_is_no_fault_of_the_mirror_where_another_index_is_named(
    stocked: BrokenMirror, private: BrokenMirror, audit: Audit, tmp_path: Path
) -> None:
    for others in (SECOND, '[tool.uv]\nfind-links = ["wheels"]\n', '[tool.uv]\nextra-index-url = ["@private@"]\nindex-url = "@mirror@"\n'):
        text = f'{APP}dependencies = ["demo", "nosuch"]\n[[tool.uv.index]]\nurl = "@mirror@"\ndefault = true\n{others}'
        if "index-url" in others:
            text = f'{APP}dependencies = ["demo", "nosuch"]\n{others}'
        path = write(tmp_path / "project", {"pyproject.toml": text}, private=private.url, mirror=stocked.url)
        report = await audit(lock=path)
        assert [(each.fault, each.level) for each in report.findings] == [(Fault.PROJECT_ABSENT, Level.NOTE)]
        assert [each.omission for each in report.sources[0].left_out] == [Omission.OPTION]
    path = write(tmp_path / "project", {"pyproject.toml": f'{APP}dependencies = ["demo", "nosuch"]\n'})
    assert [each.level for each in (await audit(lock=path)).findings] == [Level.ERROR]


def test_an_index_that_is_the_mirror_or_stands_for_it_is_no_other(tmp_path: Path) -> None:
    source = '[tool.uv.sources]\ndemo = { index = "it" }\n'
    for url, default in (
        (URL, "explicit"),
        (URL.rstrip("/"), "explicit"),
        (URL.replace("://", "://u:p@"), "default"),
        (URL, "default"),
    ):
        index = f'[[tool.uv.index]]\nname = "it"\nurl = "{url}"\n{default} = true\n'
        found = read(write(tmp_path, {"pyproject.toml": f"{DEMO}{index}{source}"}))
        assert ([want.project for want in found.wants], found.other_indexes, told(found)) == (["demo"], False, [])
    proxy = '[[tool.uv.index]]\nname = "it"\nurl = "http://127.0.0.1:8080/simple/"\n'
    found = read(write(tmp_path, {"pyproject.toml": f"{DEMO}{proxy}default = true\n{source}"}))
    assert ([want.project for want in found.wants], found.other_indexes) == (["demo"], False)
    with pytest.raises(Unreadable, match="nothing of it comes from the mirror"):
        read(write(tmp_path, {"pyproject.toml": f"{DEMO}{proxy}{source}"}))


@pytest.mark.parametrize(
    "url", ["https://u:s3cret@h.example.com/simple", "//u:s3cret@h.example.com/simple", "https://u:s3cret x@h.example.com"]
)
def test_no_spelling_of_an_address_tells_its_password(url: str, tmp_path: Path) -> None:
    for text in (
        f'[tool.uv]\nfind-links = ["{url}"]\n',
        f'[[tool.uv.index]]\nurl = "{url}"\n',
        f'[tool.uv]\nextra-index-url = ["{url}"]\n',
    ):
        found = read(write(tmp_path, {"pyproject.toml": f"{DEMO}{text}"}))
        assert [omission for omission, _ in told(found)] == [Omission.OPTION]
        assert "s3cret" not in repr(told(found))
    for text in (
        f'{DEMO}[tool.uv.sources]\ndemo = {{ index = "{url}" }}\n',
        f'{APP}dependencies = ["demo", "x == {url}"]\n',
        f'{APP}dependencies = ["demo", "x @ {url} y ;"]\n',
    ):
        with pytest.raises(Unreadable) as raised:
            read(write(tmp_path, {"pyproject.toml": text}))
        assert "s3cret" not in str(raised.value)


def test_with_no_index_nothing_comes_from_the_mirror(tmp_path: Path) -> None:
    for files in (
        {"pyproject.toml": f'{DEMO}[tool.uv]\nno-index = true\nfind-links = ["w"]\n'},
        {"pyproject.toml": DEMO, "uv.toml": 'no-index = true\nfind-links = ["w"]\n'},
    ):
        with pytest.raises(Unreadable, match="nothing of it comes from the mirror"):
            read(write(tmp_path, files))


def test_the_settings_of_a_uv_toml_go_before_those_of_the_project(tmp_path: Path) -> None:
    found = read(write(tmp_path, {"pyproject.toml": f"{DEMO}{SECOND}{SECOND}", "uv.toml": ""}))
    assert not found.other_indexes


REFUSED = {
    "a group that is not there": '[dependency-groups]\ndev = [{ include-group = "nope" }]\n',
    "groups in a circle": '[dependency-groups]\na = [{ include-group = "b" }]\nb = [{ include-group = "a" }]\n',
    "a group that includes itself": '[dependency-groups]\na = [{ include-group = "A" }]\n',
    "a group twice": "[dependency-groups]\na-b = []\na_b = []\n",
    "something else in a group": '[dependency-groups]\na = [{ foo = "b" }]\n',
    "a number in a group": "[dependency-groups]\na = [1]\n",
    "an index that is not there": '[tool.uv.sources]\ndemo = { index = "nope" }\n',
    "a source that is none": "[tool.uv.sources]\ndemo = {}\n",
    "no source": "[tool.uv.sources]\ndemo = []\n",
    "a source that is a string": '[tool.uv.sources]\ndemo = "x"\n',
    "sources that are a list": '[tool.uv]\nsources = ["demo"]\n',
    "a path that is a number": "[tool.uv.sources]\nother = { path = 1 }\n",
    "a marker that is none": '[tool.uv.sources]\ndemo = { path = "x", marker = "nonsense" }\n',
    "no workspace": "[tool.uv.sources]\ndemo = { workspace = false }\n",
    "an index that is a string": '[tool.uv]\nindex = "x"\n',
    "settings that are a list": "[[tool.uv]]\nx = 1\n",
    "extras that are a list": '[project]\nname = "app"\nversion = "1"\noptional-dependencies = ["demo"]\n',
    "dependencies that are a string": '[project]\nname = "app"\nversion = "1"\ndependencies = "demo"\n',
    "dependencies that are numbers": '[project]\nname = "app"\nversion = "1"\ndependencies = [1]\n',
    "a name that is a number": '[project]\nname = 1\nversion = "1"\ndependencies = ["demo"]\n',
    "a Python that is none": '[project]\nname = "app"\nversion = "1"\nrequires-python = "banana"\ndependencies = ["demo"]\n',
    "projects": '[[project]]\nname = "x"\n',
    "a project that is a string": 'project = "demo"\n',
    "environments that are no markers": '[tool.uv]\nenvironments = ["linux"]\n',
    "environments that are numbers": "[tool.uv]\nenvironments = [1]\n",
    "environments that overlap": "[tool.uv]\nenvironments = [\"sys_platform == 'linux'\", \"python_version >= '3.12'\"]\n",
    "environments of Pythons that the project does not support": "[tool.uv]\nenvironments = [\"python_version < '3.9'\"]\n",
    "no requirement": '[project]\nname = "app"\nversion = "1"\ndependencies = ["demo=1 @ https://u:s3cret@host.example.com/"]\n',
}
"""What both uv and the reader refuse."""


@pytest.mark.parametrize("name", REFUSED)
async def test_what_the_real_uv_refuses_is_told_on_one_line(name: str, stocked: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    text = REFUSED[name]
    path = write(tmp_path, {"pyproject.toml": text if "project" in text.partition("=")[0] else DEMO + text})
    assert not (await uv.lock(tmp_path, stocked.url)).ok
    with pytest.raises(Unreadable) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (APP, "it has no dependencies"),
        ("", "it has no dependencies"),
        ('[tool.poetry.dependencies]\npython = "^3.11"\ndemo = "*"\n', "poetry.lock"),
        (f'{APP}dynamic = ["dependencies"]\n', "dynamic"),
    ],
)
def test_a_project_without_dependencies_is_not_sound(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=why):
        read(write(tmp_path, {"pyproject.toml": text}))


_KEYS = [
    *("project", "name", "dependencies", "optional-dependencies", "dynamic", "requires-python", "dependency-groups", "include-group"),
    *("tool", "uv", "sources", "index", "url", "git", "path", "workspace", "marker", "extra", "group", "members", "exclude", "explicit"),
    *("find-links", "no-index", "override-dependencies", "constraint-dependencies", "exclude-dependencies", "dev-dependencies", "demo"),
    *("conflicts", "poetry", "pdm", "hatch", "source", "include_packages", "environments", "envs", "build-system", "requires"),
    *("default", "extra-index-url", "index-url"),
]
_TEXTS = [
    "demo",
    "demo>=1",
    "app",
    "*",
    "../**",
    "lib",
    "",
    ".",
    "/",
    "a\0b",
    "sys_platform == 'linux'",
    "https://x.example.com/",
    "[",
    "x @ file:..",
]
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.sampled_from(_TEXTS), st.booleans(), st.integers(-2, 2), st.floats(), st.text(max_size=5), st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4)),
    max_leaves=12,
)


def _with(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    """Documents in which these tables are inside each other."""
    table: st.SearchStrategy[Any] = st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=5)
    for key in reversed(keys):
        table = st.tuples(table, st.just(key)).map(lambda pair: {pair[1]: pair[0]})
    return table


def _merged(documents: list[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            both = isinstance(value, dict) and isinstance(whole.get(key), dict)
            whole[key] = _merged([whole[key], value]) if both else value
    return whole


_DOCUMENTS = st.lists(
    st.one_of(
        _with(),
        _with("project"),
        _with("tool", "uv"),
        _with("tool", "uv", "sources"),
        _with("tool", "poetry"),
        _with("tool", "pdm", "source"),
        _with("dependency-groups"),
        st.just({"project": {"name": "app", "dependencies": ["demo"]}}),
    ),
    min_size=1,
    max_size=5,
).map(_merged)


@given(_DOCUMENTS)
def test_of_any_document_there_is_an_order_or_a_reason(tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]) -> None:
    folder = tmp_path_factory.getbasetemp() / "any" / "document"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.audit.inputs.manifest.read_toml", lambda _: (document, ""))
        path.touch()
        try:
            found = read(path)
        except Unreadable as error:
            assert "\n" not in str(error)  # noqa: PT017 - either end is right
        else:
            assert found.wants
