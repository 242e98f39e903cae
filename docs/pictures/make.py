"""Makes the pictures of the documentation anew, from real runs on loopback: `python -m docs.pictures.make`, at the root of the project.

It takes some minutes, and needs `pip install -e '.[pictures]'`, Chromium and curl.
The ports 8080 and 8081 of loopback have to be free, since the pictures show them.
"""

import socket
import sys
import tempfile
import warnings
from pathlib import Path

from docs.pictures.pages import photograph
from docs.pictures.recordings import COLUMNS, MIRROR, PROXY, WIDE, Bench, record_check, record_lock
from docs.pictures.terminal import as_svg

FOLDER = Path(__file__).parent


def main() -> int:
    """Makes all of them; gives 0, or 1 where a port is taken."""
    for port in (PROXY, MIRROR):
        with socket.socket() as trying:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trying.bind(("127.0.0.1", port))
            except OSError:
                sys.stderr.write(f"Port {port} is taken, and the pictures show it: end what listens there.\n")
                return 1
    with tempfile.TemporaryDirectory() as folder:
        _draw("lock", record_lock(Bench(Path(folder))), COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        check, explain = record_check(Bench(Path(folder)))
        _draw("check", check, WIDE)
        _draw("explain", explain, COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        photograph(Bench(Path(folder)), FOLDER)
    return 0


def _draw(name: str, written: str, columns: int) -> None:
    (FOLDER / f"{name}.svg").write_text(as_svg(written, columns, name), encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("error")
    sys.exit(main())
