"""What a cold lock of the jupyter world costs the mirror: the proxy's own requests and distinct files by reason, against the mirror's log.

    python benchmarks/price.py [--kind other] [--seconds 10]

`--kind` is the product that the mirror passes for, `--seconds` for how long the proxy goes on after the lock before it is asked.
"""

import argparse
import json
import re
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mirrors
from locks import Locker, dead, touched

_ASKED = re.compile(r'"(?:GET|HEAD) \S*/packages/packages/\S+ HTTP')


def priced(tree: Path, kind: str, seconds: float) -> tuple[Mapping[str, Any], int, int, set[str]]:
    """Return the price that the proxy tells, requests for files and distinct ones in the mirror's log, and the files in the lock."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        log = Path(folder, "mirror.log")
        broken = stack.enter_context(mirrors.nginx(tree, rules=mirrors.DEAD_MACOS, log=log))
        upstream = f"http://127.0.0.1:{broken}{mirrors.SIMPLE}"
        port = stack.enter_context(mirrors.proxy(upstream, "memory", environment={"MIRRORMEND_UPSTREAM_KIND": kind}))
        _, files = Locker().lock(f"http://127.0.0.1:{port}/simple/")
        time.sleep(seconds)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json") as response:
            price: Mapping[str, Any] = json.load(response)["mirrors"][0]["price"]
        return price, len(_ASKED.findall(log.read_text())), touched(log), files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="other")
    parser.add_argument("--seconds", type=float, default=10.0)
    words = parser.parse_args()
    price, requests, distinct, files = priced(mirrors.build(), words.kind, words.seconds)
    for each in price["reasons"]:
        print(f"{each['reason']:12} {each['requests']:7} requests {each['files']:7} files")
    counted = price["requests"] + price["relayed"]
    print(f"{'all':12} {price['requests']:7} requests {price['files']:7} files, and {price['relayed']} of clients")
    # What is under way when the proxy is asked is in one of them only.
    ratios = f"the proxy counted {counted / requests:.3f} and {price['files'] / distinct:.3f} x"
    print(f"{'its log':12} {requests:7} requests {distinct:7} files: {ratios}")
    print(f"dead files in the lock: {dead(files)}")


if __name__ == "__main__":
    main()
