"""Write docs/uv-pages.md to stdout, from what the installed uv does."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.uv_pages.document import document

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(asyncio.run(document(Path(folder))))
