"""Distribution files for tests: real ones that pip and uv install, tiny, and the same bytes at every call."""

import io
import re
import struct
import zipfile
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from itertools import product
from pathlib import Path

# 2020-02-02 00:00:00, as MS-DOS writes time and date.
_MOMENT = struct.pack("<HH", 0, (2020 - 1980) << 9 | 2 << 5 | 2)
_LOCAL, _CENTRAL, _END = struct.Struct("<4sHHH4sLLLHH"), struct.Struct("<4sHHHH4sLLLHHHHHLL"), struct.Struct("<4sHHHHLLH")

_BACKEND = '''"""A build backend that needs nothing but the standard library."""

import base64
import hashlib
import pathlib
import zipfile

NAME, VERSION, METADATA, TOUCH = @@FACTS@@


def _touch():
    if TOUCH is not None:
        pathlib.Path(TOUCH).write_text("built", encoding="utf-8")


def get_requires_for_build_wheel(config_settings=None):
    _touch()
    return []


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    _touch()
    info = f"{NAME}-{VERSION}.dist-info"
    members = {
        f"{NAME}.py": f'__version__ = "{VERSION}"\\n',
        f"{info}/METADATA": METADATA,
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = ""
    filename = f"{NAME}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, filename), "w") as archive:
        for name, text in members.items():
            data = text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record += f"{name},sha256={digest},{len(data)}\\n"
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\\n")
    return filename


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError
'''


def make_wheel(filename: str, *, metadata: str | None = None, payload: bytes = b"", requires_dist: Iterable[str] = ()) -> bytes:
    """Gives the bytes of a wheel called `filename`: one module, `<name>.py`, and what the binary distribution format asks for.

    `metadata` is the whole text of METADATA; without it, name and version are those of the filename, with `requires_dist` as requirements.
    `payload` makes the wheel larger: it is stored as it is, at the front of the archive.
    """
    name, version, *build, pythons, abis, platforms = filename.removesuffix(".whl").split("-")
    if metadata is None:
        metadata = _metadata("2.1", name, version, requires_dist)
    info = f"{name}-{version}.dist-info"
    tags = product(pythons.split("."), abis.split("."), platforms.split("."))
    wheel = "Wheel-Version: 1.0\nGenerator: tests\n" + f"Root-Is-Purelib: {'true' if platforms == 'any' else 'false'}\n"
    wheel += "".join(f"Tag: {'-'.join(tag)}\n" for tag in tags) + "".join(f"Build: {each}\n" for each in build)
    module = _module(name)
    members = {f"{module}_payload.bin": payload} if payload else {}
    members[f"{module}.py"] = f'__version__ = "{version}"\n'.encode()
    members[f"{info}/METADATA"] = metadata.encode()
    members[f"{info}/WHEEL"] = wheel.encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    return _zipped(members, deflated={f"{info}/METADATA"})


def make_sdist(
    filename: str,
    *,
    requires_dist: Iterable[str] = (),
    dynamic: Iterable[str] = (),
    touch: Path | None = None,
    metadata: str | None = None,
) -> bytes:
    """Gives the bytes of a source distribution called `filename` (`<name>-<version>.tar.gz`) that builds without a network.

    Its PKG-INFO is of metadata version 2.2, and so static (PEP 643), except for the fields named in `dynamic`, such as "Requires-Dist";
    `metadata` replaces the text of PKG-INFO. Whoever runs its build backend creates the file `touch`.
    """
    stem = filename.removesuffix(".tar.gz")
    name, _, version = stem.rpartition("-")
    requires_dist, dynamic = tuple(requires_dist), tuple(dynamic)
    complete = _metadata("2.2", name, version, requires_dist)
    if metadata is None:
        told = () if "Requires-Dist" in dynamic else requires_dist
        metadata = _metadata("2.2", name, version, told) + "".join(f"Dynamic: {field}\n" for field in dynamic)
    facts = (_module(name), version, complete, None if touch is None else str(touch))
    dependencies = 'dynamic = ["dependencies"]' if "Requires-Dist" in dynamic else f"dependencies = {list(requires_dist)!r}"
    pyproject = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n{dependencies}\n'
    )
    members = {
        "PKG-INFO": metadata,
        "pyproject.toml": pyproject,
        "backend.py": _BACKEND.replace("@@FACTS@@", repr(facts)),
        f"{_module(name)}.py": f'__version__ = "{version}"\n',
    }
    return _deflated(_tarred({f"{stem}/{path}": text.encode() for path, text in members.items()}), 16 + 9)


def metadata_of(wheel: bytes) -> bytes:
    """Gives the METADATA that a wheel holds."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        path = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(path)


def _tarred(members: Mapping[str, bytes]) -> bytes:
    # By hand, as `_zipped`. A header is a block of 512 bytes, its checksum counted with blanks in its own place (POSIX, ustar).
    archive = bytearray()
    for path, data in members.items():
        facts = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % len(data) + b"00000000000\0"
        before, after = path.encode().ljust(100, b"\0") + facts, (b"0" + bytes(100) + b"ustar\x0000").ljust(356, b"\0")
        checksum = b"%06o\0 " % (sum(before) + 8 * ord(" ") + sum(after))
        archive += before + checksum + after + data + bytes(-len(data) % 512)
    return bytes(archive + bytes(1024))


def _zipped(members: Mapping[str, bytes], deflated: Collection[str]) -> bytes:
    # By hand, since worlds of tens of thousands of files are made of these, and `zipfile` takes several times as long.
    body, directory = bytearray(), bytearray()
    for path, data in members.items():
        name, method, packed = path.encode(), 0, data
        if path in deflated:
            method, packed = 8, _deflated(data, -9)
        facts = (_MOMENT, zlib.crc32(data), len(packed), len(data), len(name), 0)
        directory += _CENTRAL.pack(b"PK\x01\x02", 3 << 8 | 20, 20, 0, method, *facts, 0, 0, 0, 0o100644 << 16, len(body)) + name
        body += _LOCAL.pack(b"PK\x03\x04", 20, 0, method, *facts) + name + packed
    end = _END.pack(b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + end)


def _deflated(data: bytes, wbits: int) -> bytes:
    # The smallest window and the least memory: setting up zlib's usual ones takes longer than all the rest.
    compress = zlib.compressobj(1, zlib.DEFLATED, wbits, 1)
    return compress.compress(data) + compress.flush()


def _metadata(edition: str, name: str, version: str, requires_dist: Iterable[str]) -> str:
    requirements = "".join(f"Requires-Dist: {each}\n" for each in requires_dist)
    return f"Metadata-Version: {edition}\nName: {name}\nVersion: {version}\nSummary: Made for a test\n{requirements}"


def _module(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(sha256(data).digest()).decode().rstrip("=")
