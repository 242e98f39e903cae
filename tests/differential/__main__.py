"""Compare what clients see of pages direct and through the proxy: `python -m tests.differential FOLDER|URL`."""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from pathlib import Path

import structlog

from tests.differential.folders import page_files, rounds, stated_content
from tests.differential.harness import describe, differential
from tests.differential.observations import Difference


async def of_folder(folder: Path) -> tuple[int, list[Difference]]:
    """Return how many pages a folder has, and how they differ."""
    found: list[Difference] = []
    files = page_files(folder)
    for group in rounds(files):
        async with differential() as run:
            found += await run.pages([each.page(run.mirror.origin) for each in group], stated_content)
    return len(files), found


def main() -> int:
    """Run the command; return 1 where something differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("source", help="a folder of pages, or of an index")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.perf_counter()
    pages, found = asyncio.run(of_folder(Path(arguments.source)))
    sys.stdout.write(describe(found) + "\n")
    for kind, count in sorted(Counter(each.kind for each in found).items()):
        sys.stdout.write(f"{count:6} {kind}, on {len({each.page for each in found if each.kind == kind})} pages\n")
    sys.stdout.write(f"{pages} pages, {len(found)} differences, {time.perf_counter() - began:.1f} s\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
