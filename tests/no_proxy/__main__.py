"""Write docs/no-proxy.md to stdout, from what the installed curl and uv do."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.no_proxy.forms import document

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(asyncio.run(document(Path(folder))))
