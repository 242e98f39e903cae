"""Odd entries of pages, as the real uv and pip read them: direct and through the proxy alike."""

from hashlib import blake2b, sha256
from pathlib import Path

from tests.clients import Pip, ProxyProcess, Uv, write_project
from tests.listing import content_by_name
from tests.mirror import BrokenMirror
from tests.wheels import make_wheel

PATH = "../../packages/packages/"
OLD, NEW = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"


async def test_exclude_newer_works_by_the_upload_times_of_html_as_it_does_direct(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    mirror.forms = {"html"}
    links = ""
    for name, year in ((OLD, 2023), (NEW, 2025)):
        mirror.add(name, path=name)
        links += f'<a href="{PATH}{name}" data-upload-time="{year}-01-02T03:04:05.678Z" data-size="1">{name}</a>'
    mirror.set_page("demo", f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        for number, index in enumerate((mirror.url, proxy.simple)):
            uv.fresh_cache()
            project = write_project(tmp_path / f"project{number}", ["demo"])
            locked = await uv.lock(project, index, "--exclude-newer", "2024-01-01T00:00:00Z")
            assert locked.packages == {"demo": "1.0"}, locked


async def test_a_name_that_stands_twice_is_locked_and_installed_as_it_is_direct(mirror: BrokenMirror, uv: Uv, tmp_path: Path) -> None:
    mirror.forms = {"html"}
    links = ""
    for folder in ("one", "two"):
        data = make_wheel(NEW, payload=folder.encode())
        mirror.add(NEW, data, project=folder, path=f"{folder}/{NEW}")
        links += f'<a href="{PATH}{folder}/{NEW}#sha256={sha256(data).hexdigest()}">{NEW}</a>'
    mirror.set_page("demo", f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        for number, index in enumerate((mirror.url, proxy.simple)):
            uv.fresh_cache()
            project = write_project(tmp_path / f"project{number}", ["demo"])
            synced = await uv.sync(project, index)
            assert synced.ok, synced
    told = [(tmp_path / f"project{number}" / "uv.lock").read_text().count("sha256:") for number in range(2)]
    assert told[0] == told[1] > 0


async def test_pip_installs_through_the_proxy_what_hash_names_that_nobody_knows_keep_it_from_direct(
    mirror: BrokenMirror, pip: Pip, tmp_path: Path
) -> None:
    mirror.add(NEW, hashes={"blake2b_256": "0" * 64, "crc32": "0" * 8})
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        done = await pip.run("install", "--no-deps", "--index-url", proxy.simple, "demo")
        assert done.ok, done


async def test_pip_and_uv_install_what_has_no_hash_but_one_that_each_reads_in_its_own_way(
    mirror: BrokenMirror, pip: Pip, uv: Uv, tmp_path: Path
) -> None:
    mirror.forms = {"html"}
    mirror.add(NEW, path=NEW)
    digest = blake2b(content_by_name(NEW), digest_size=32).hexdigest()
    mirror.set_page("demo", f'<html><body><a href="{PATH}{NEW}#blake2b={digest}">{NEW}</a></body></html>'.encode())
    async with ProxyProcess(mirror.url, tmp_path) as proxy:
        done = await pip.run("install", "--no-deps", "--index-url", proxy.simple, "demo")
        assert done.ok, done
        project = write_project(tmp_path / "project", ["demo"])
        assert (await uv.sync(project, proxy.simple)).ok
    assert f"blake2b:{digest}" in (project / "uv.lock").read_text()
