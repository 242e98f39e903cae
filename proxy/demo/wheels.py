"""Real wheels, as small as the binary distribution format allows, made in memory."""

import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO

_LONG_AGO = (2020, 2, 2, 0, 0, 0)


def make_wheel(filename: str, requires: Sequence[str] = ()) -> bytes:
    """Gives a wheel of this name that holds one empty module, the same bytes every time; `requires` are PEP 508 requirements."""
    name, version, python, abi, platforms = filename.removesuffix(".whl").split("-")
    info = f"{name}-{version}.dist-info"
    tags = "".join(f"Tag: {python}-{abi}-{platform}\n" for platform in platforms.split("."))
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    members = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.9\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: mirrormend demo\nRoot-Is-Purelib: {str(abi == 'none').lower()}\n{tags}",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path, _LONG_AGO), text, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _digest(text: str) -> str:
    return urlsafe_b64encode(sha256(text.encode()).digest()).decode().rstrip("=")
