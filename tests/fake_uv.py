"""A stand-in for uv that locks as it is told, by FAKE_UV: a JSON object with `version`, `ends` and `pauses`.

It locks one file of storm by the address of the proxy, as the real uv does with the page in its hands. It keeps to what the real one does
with its lock file: it reads it at the beginning, and writes it at the end.
"""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

LOCK = """\
version = 1
requires-python = ">=3.11"

[[package]]
name = "storm"
version = "{version}"
source = {{ registry = "{simple}" }}
wheels = [
    {{ url = "{base}files/storm/storm-{version}-py3-none-any.whl", hash = "sha256:00", size = 1 }},
]
"""


def locked(version: str, simple: str, base: str) -> bytes:
    """Return the lock for an index whose files are below `base`."""
    return LOCK.format(version=version, simple=simple, base=base).encode()


def lock() -> int:
    plan = json.loads(os.environ["FAKE_UV"])
    simple = re.sub(r"//[^@/]*@", "//", os.environ["UV_DEFAULT_INDEX"].rpartition("=")[2])
    file = Path(sys.argv[sys.argv.index("--project") + 1] if "--project" in sys.argv else ".") / "uv.lock"
    if plan["marker"]:
        Path(plan["marker"]).touch()
    time.sleep(plan["pauses"][0])
    made = locked(plan["version"], simple, simple.removesuffix("simple/"))
    ends = plan["ends"]
    if ends == "fails before":
        return 1
    with file.open("wb") as opened:
        opened.write(made[: len(made) // 2])
        opened.flush()
        time.sleep(plan["pauses"][1])
        if ends == "killed half way":
            os.kill(os.getpid(), signal.SIGKILL)
        opened.write(made[len(made) // 2 :])
    if ends == "killed at the end":
        os.kill(os.getpid(), signal.SIGTERM)
    return 2 if ends == "fails after" else 0


if __name__ == "__main__":
    sys.exit(lock())
