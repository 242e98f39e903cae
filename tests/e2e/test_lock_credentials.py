"""`mirrormend lock` finds the credentials of an index wherever uv finds them: where uv works, it works, and nothing leaks."""

from pathlib import Path

import pytest

from tests.clients import Uv, write_project
from tests.e2e.test_lock_command import Mirrormend, index
from tests.mirror import BrokenMirror

NAME, SECRET = "reader", "s3cret-geheim"
USER, BOTH = f"{NAME}@", f"{NAME}:{SECRET}@"
MACHINE = "machine 127.0.0.1 login reader password s3cret-geheim"
WRONG = "machine 127.0.0.1 login other password wrong"
VARIABLES = {"UV_INDEX_CORP_USERNAME": NAME, "UV_INDEX_CORP_PASSWORD": SECRET}
ONLY_NAME = {"UV_INDEX_CORP_USERNAME": NAME}

CASES = [
    ("", "", {}),
    ("", MACHINE, {}),
    ("", f"default login {NAME} password {SECRET}", {}),
    ("", "", VARIABLES),
    ("", WRONG, VARIABLES),
    ("", MACHINE, ONLY_NAME),
    (USER, "", {}),
    (USER, MACHINE, {}),
    (USER, WRONG, {}),
    (USER, MACHINE, ONLY_NAME),
    (USER, "", VARIABLES),
    (USER, WRONG, VARIABLES),
    (f"{NAME}:@", MACHINE, {}),
    (BOTH, "", {}),
    (BOTH, MACHINE, {}),
    (BOTH, WRONG, {}),
    (BOTH, "machine 127.0.0.1 login", {}),
    (BOTH, "", ONLY_NAME),
    ("other:wrong@", MACHINE, VARIABLES),
    ("other@", MACHINE, {}),
]


@pytest.fixture
def mirror_of_readers(mirror: BrokenMirror) -> BrokenMirror:
    """A mirror that wants credentials."""
    mirror.add("storm-6.4.2-py3-none-any.whl")
    mirror.credentials = (NAME, SECRET)
    return mirror


def no_leak(text: str) -> None:
    """No password and no traceback is in what was said."""
    assert SECRET not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("in_home", [False, True], ids=["NETRC", "home"])
@pytest.mark.parametrize(("address", "netrc", "variables"), CASES)
async def test_where_uv_finds_them_the_command_does(
    mirror_of_readers: BrokenMirror, tmp_path: Path, address: str, netrc: str, variables: dict[str, str], in_home: bool
) -> None:
    if in_home and not netrc:
        pytest.skip("it makes no difference")
    uv = Uv(tmp_path)
    del uv.environment["UV_NO_CONFIG"]
    uv.environment |= {"UV_HTTP_RETRIES": "0", **variables}
    path = Path(uv.environment["HOME"]) / ".netrc" if in_home else tmp_path / "netrc"
    if netrc:
        path.write_text(netrc + "\n", encoding="utf-8")
        path.chmod(0o600)
        uv.environment |= {} if in_home else {"NETRC": str(path)}
    url = mirror_of_readers.url.replace("://", f"://{address}")
    mend = Mirrormend(uv, write_project(tmp_path / "project", ["storm"], extra=index(url)))
    direct = await uv.run("lock", cwd=mend.project)
    by_uv = mend.file.read_bytes() if direct.ok else None
    mend.file.unlink(missing_ok=True)
    done = await mend.lock()
    no_leak(done.stdout + done.stderr)
    if direct.ok:
        assert done.ok, done
        assert mend.file.read_bytes() == by_uv
    again = await mend.lock("--upstream", url)
    no_leak(again.stdout + again.stderr)
    assert again.ok or not direct.ok, again


async def test_credentials_in_the_address_of_the_settings_go_before_netrc(mirror_of_readers: BrokenMirror, tmp_path: Path) -> None:
    uv = Uv(tmp_path)
    (tmp_path / "netrc").write_text(WRONG, encoding="utf-8")
    mend = Mirrormend(uv, write_project(tmp_path / "project", ["storm"]))
    done = await mend.lock(MIRRORMEND_UPSTREAM=mirror_of_readers.url.replace("://", f"://{BOTH}"), NETRC=str(tmp_path / "netrc"))
    assert done.ok, done
    no_leak(done.stderr)
