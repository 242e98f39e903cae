"""A uv.lock with other addresses: what is changed, and that nothing else is."""

import pytest

from proxy.core.lockfile import LockUnreadable, read_lock, readdressed

PROXY, MIRROR = "http://127.0.0.1:8080/simple/", "https://mirror.example.com/api/pypi/simple"
WHEEL, AT_MIRROR = (
    "http://127.0.0.1:8080/files/demo/demo-1.0+cu1-py3-none-any.whl",
    "https://mirror.example.com/d/demo-1.0%2Bcu1-py3-none-any.whl",
)

LOCK = f"""\
version = 1
revision = 3
requires-python = ">=3.11"
resolution-markers = [
    "sys_platform == 'darwin'",
]

[options]
exclude-newer = "2026-01-01T00:00:00Z"

[manifest]
constraints = [{{ name = "demo", specifier = "<2", index = "{PROXY}" }}]

[[package]]
name = "app"
version = "0.1"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "demo", version = "1.0+cu1", source = {{ registry = "{PROXY}" }}, marker = "sys_platform != 'darwin'" }},
]

[package.metadata]
requires-dist = [{{ name = "demo", index = "{PROXY}" }}]

[[package]]
name = "demo"
version = "1.0+cu1"
source = {{ registry = "{PROXY}" }}
sdist = {{ url = "http://127.0.0.1:8080/files/demo/demo-1.0+cu1.tar.gz", hash = "sha256:aa", size = 1517 }}
wheels = [
    {{ url = "{WHEEL}", hash = "sha256:bb" }},
]

[[package]]
name = "elsewhere"
version = "2"
source = {{ registry = "https://other.example.com/simple" }}
wheels = [
    {{ url = "https://other.example.com/elsewhere-2-py3-none-any.whl", hash = "sha256:cc", size = 5 }},
]

[[package]]
name = "a-link"
version = "3"
source = {{ url = "http://127.0.0.1:8080/files/a-link/a_link-3-py3-none-any.whl" }}
wheels = [
    {{ url = "http://127.0.0.1:8080/files/a-link/a_link-3-py3-none-any.whl", hash = "sha256:dd" }},
]

[[package]]
name = "from-a-folder"
version = "4"
source = {{ registry = "wheels" }}
wheels = [
    {{ path = "from_a_folder-4-py3-none-any.whl" }},
]
"""


def test_it_names_the_packages_of_indexes_and_their_files() -> None:
    lock = read_lock(LOCK)
    assert [package.name for package in lock.packages] == ["demo", "elsewhere", "from-a-folder"]
    assert lock.registries == (PROXY, "https://other.example.com/simple", "wheels")
    sdist, wheel = lock.packages[0].files
    assert (sdist.filename, sdist.hash, sdist.size) == ("demo-1.0+cu1.tar.gz", "sha256:aa", 1517)
    assert (wheel.filename, wheel.hash, wheel.size) == ("demo-1.0+cu1-py3-none-any.whl", "sha256:bb", None)
    assert lock.packages[2].files == ()


def test_the_name_of_a_file_is_read_without_its_escapes_and_what_follows() -> None:
    lock = read_lock(LOCK.replace(WHEEL, AT_MIRROR + "?a=b/c"))
    assert lock.packages[0].files[1].filename == "demo-1.0+cu1-py3-none-any.whl"


def test_an_index_is_exchanged_wherever_the_lock_names_it_and_nothing_else() -> None:
    assert readdressed(read_lock(LOCK), {PROXY: MIRROR}, {}) == LOCK.replace(f'"{PROXY}"', f'"{MIRROR}"')


def test_a_file_is_exchanged_and_its_hash_and_size_stay() -> None:
    assert readdressed(read_lock(LOCK), {}, {WHEEL: AT_MIRROR}) == LOCK.replace(WHEEL, AT_MIRROR)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\n", "\r\n"),
        ("[[package]]\n", f'# "{PROXY}", {WHEEL}\n[[package]] # it\'s a "comm\\ent\n'),
        (f'"{PROXY}"', f"'{PROXY}'"),
        (" = ", "="),
    ],
    ids=["line endings", "comments", "literal strings", "spaces"],
)
def test_what_somebody_made_of_the_lock_stays(before: str, after: str) -> None:
    text = LOCK.replace(before, after)
    changed = readdressed(read_lock(text), {PROXY: MIRROR}, {WHEEL: AT_MIRROR})
    assert changed == LOCK.replace(f'"{PROXY}"', f'"{MIRROR}"').replace(WHEEL, AT_MIRROR).replace(before, after) or "'" in after
    assert readdressed(read_lock(changed), {MIRROR: PROXY}, {AT_MIRROR: WHEEL}) == text


def test_an_address_that_is_escaped_in_toml_is_understood() -> None:
    text = LOCK.replace(f'registry = "{PROXY}"', 'registry = "http:\\u002F/127.0.0.1:8080/simple/"')
    assert readdressed(read_lock(text), {PROXY: MIRROR}, {}) == LOCK.replace(f'"{PROXY}"', f'"{MIRROR}"')


def test_a_link_that_somebody_required_keeps_its_address() -> None:
    link = "http://127.0.0.1:8080/files/a-link/a_link-3-py3-none-any.whl"
    with pytest.raises(LockUnreadable, match="where none is expected"):
        readdressed(read_lock(LOCK), {PROXY: MIRROR}, {link: AT_MIRROR})
    assert f'"{link}"' in readdressed(read_lock(LOCK), {PROXY: MIRROR}, {WHEEL: AT_MIRROR})


def test_an_address_that_would_break_the_text_is_refused() -> None:
    with pytest.raises(LockUnreadable):
        readdressed(read_lock(LOCK), {PROXY: 'https://"/simple/'}, {})


def test_multi_line_strings_hide_nothing() -> None:
    text = f'note = """\nit said "{PROXY}" and "" # here\\""""\nother = \'\'\'\'"{PROXY}"\'\'\'\n{LOCK}'
    assert readdressed(read_lock(text), {PROXY: MIRROR}, {}) == text.replace(f' "{PROXY}" }}', f' "{MIRROR}" }}').replace(
        f' "{PROXY}", ', f' "{MIRROR}", '
    ).replace(f'index = "{PROXY}"', f'index = "{MIRROR}"')


@pytest.mark.parametrize(
    "text",
    [
        "not toml at all",
        "[[package]]\nname = 1\n",
        '[[package]]\nname = "a"\nsource = { registry = "x" }\nwheels = [1]\n',
        '[[package]]\nname = 3\nsource = { registry = "x" }\n',
        '[[package]]\nname = "a"\nsource = { registry = 4 }\n',
        '[[package]]\nname = "a"\nsource = { registry = "http://[" }\n',
        '[[package]]\nname = "a"\nsource = { registry = "x" }\nwheels = [{ url = 5 }]\n',
        '[[package]]\nname = "a"\nsource = { registry = "x" }\nsdist = { url = "http://[" }\n',
        "package = 5\n",
        f"package = {'9' * 5000}\n",
        f"package = {'[' * 5000}{']' * 5000}\n",
    ],
    ids=lambda text: text[-40:],
)
def test_what_is_no_lock_is_told_so(text: str) -> None:
    with pytest.raises(LockUnreadable) as raised:
        read_lock(text)
    assert "\n" not in str(raised.value)
