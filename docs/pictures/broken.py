"""The broken mirror of the pictures: what real ones do to a small project's packages, at one mirror that speaks as Artifactory does."""

import json

from tests.faults import artifactory_404, status, wrong_type
from tests.mirror import BrokenMirror
from tests.wheels import make_sdist, make_wheel

WANTED = ("cryptography", "lxml", "onnxruntime", "psutil", "pyzmq", "requests", "rpds-py", "tornado")
"""What the project of the pictures depends on."""

MISSING = "tornado-6.4.2-cp38-abi3-macosx_10_9_universal2.whl"

_LINUX = ("manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux_2_17_aarch64.manylinux2014_aarch64")
_ALPINE = ("musllinux_1_2_x86_64",)
_MAC = ("macosx_10_9_x86_64", "macosx_11_0_arm64")
_WINDOWS = ("win_amd64",)
_ALL = (*_MAC, *_LINUX, *_ALPINE, *_WINDOWS)
_EACH = ("cp311-cp311", "cp312-cp312", "cp313-cp313", "cp314-cp314")

_RELEASES = {
    "certifi": (("2026.9.1", "2026.6.1"), ("py3-none",), ("any",)),
    "charset_normalizer": (("3.4.4", "3.4.3"), _EACH, _ALL),
    "cryptography": (("46.0.3", "46.0.2", "45.0.7"), ("cp311-abi3",), _ALL),
    "idna": (("3.11", "3.10"), ("py3-none",), ("any",)),
    "lxml": (("6.0.2", "6.0.1"), _EACH, _ALL),
    "onnxruntime": (("1.23.2", "1.23.1"), ("cp311-abi3",), _ALL),
    "psutil": (("7.2.2", "7.1.3", "7.0.0"), ("cp36-abi3",), _ALL),
    "pyzmq": (("27.1.0", "27.0.2"), ("cp311-cp311", "cp312-abi3"), _ALL),
    "requests": (("2.32.5", "2.32.4"), ("py3-none",), ("any",)),
    "rpds_py": (("0.28.0", "0.27.1"), _EACH, _ALL),
    "tornado": (("6.4.2", "6.4.1", "6.4", "6.3.3"), ("cp38-abi3",), ("macosx_10_9_universal2", *_LINUX, *_ALPINE, *_WINDOWS)),
    "urllib3": (("2.5.0", "2.4.0"), ("py3-none",), ("any",)),
}
_REQUIRES = {"requests": ("certifi", "charset-normalizer", "idna", "urllib3")}
_WHEELS_ONLY = ("onnxruntime",)
_GONE = (
    "onnxruntime-1.23.2-*macosx*arm64*",
    "tornado-6.4.[12]-*macosx*",
    "psutil-7.2.2-*macosx*",
    "rpds_py-0.28.0.tar.gz",
    "lxml-6.0.2-cp314-*aarch64*",
)
_XRAY = json.dumps({"errors": [{"status": 403, "message": "Artifact blocked by the policy 'unscanned' of Xray"}]}).encode()


def whole(port: int = 0) -> BrokenMirror:
    """Gives the mirror while nothing is wrong with it."""
    mirror = BrokenMirror(server_header="Artifactory/7.117.19", port=port)
    for name, (versions, tags, platforms) in _RELEASES.items():
        requires = _REQUIRES.get(name, ())
        for month, version in enumerate(versions):
            facts = {"requires_python": ">=3.9", "upload_time": f"2025-{10 - month:02}-14T09:26:53.589793Z"}
            for wheel in (f"{name}-{version}-{tag}-{platform}.whl" for tag in tags for platform in platforms):
                mirror.add(wheel, make_wheel(wheel, requires_dist=requires), path=f"{name}/{version}/{wheel}", **facts)
            if name in _WHEELS_ONLY:
                continue
            sdist = f"{name}-{version}.tar.gz"
            mirror.add(sdist, make_sdist(sdist, requires_dist=requires), path=f"{name}/{version}/{sdist}", **facts)
    return mirror


def spoil(mirror: BrokenMirror) -> None:
    """Lets the mirror misbehave from now on."""
    for pattern in _GONE:
        mirror.fault(pattern, artifactory_404())
    mirror.fault("cryptography-46.0.3-*musllinux*", status(403, {"Content-Type": "application/json"}, _XRAY))
    mirror.fault("lxml-6.0.1-cp313-*win_amd64*", wrong_type(b"<html><title>Sign in</title></html>"))
    mirror.fault("pyzmq-27.1.0-*win_amd64*", status(503))
