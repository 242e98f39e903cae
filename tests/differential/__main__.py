"""Compare what clients see of pages direct and through the proxy, and print each difference.

python -m tests.differential FOLDER            every page below a folder, or every page of an index folder
python -m tests.differential made-up --pages 2000 --seed 7
"""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

from tests.differential.commands import made_up_pages, of_folder, of_made_up_pages, of_scenarios, of_server
from tests.differential.observations import Difference, describe
from tests.differential.readers import READERS
from tests.differential.scenarios import scenarios_below
from tests.differential.uv_runs import UvRuns


async def _compared(arguments: argparse.Namespace, folder: Path) -> tuple[int, list[Difference]]:
    """Return how many pages, or pairs of runs, were compared, and how they differ; uv works in `folder`."""
    source, readers = arguments.source, [each for each in arguments.client.split(",") if each != "uv"]
    runs = UvRuns(folder) if "uv" in arguments.client.split(",") else None
    if source == "made-up":
        return await of_made_up_pages(arguments.pages, arguments.seed, readers, runs)
    if source.startswith(("http://", "https://")):
        return await of_server(source, arguments.project, readers, runs)
    if scenarios := scenarios_below(Path(source)):
        return await of_scenarios(scenarios, folder)
    return await of_folder(Path(source), readers, runs)


def main() -> int:
    """Run the command; return 1 where something differs."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.differential", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="a folder of pages or scenarios, the URL of a simple API, or the word made-up")
    parser.add_argument("--client", default=",".join(READERS), help=f"clients to compare, of {', '.join(READERS)}, uv")
    parser.add_argument("--project", action="append", default=[], help="a project to look at; all that the server lists without it")
    parser.add_argument("--seed", type=int, default=0, help="the seed of made-up pages")
    parser.add_argument("--pages", type=int, default=500, help="how many pages to make up")
    parser.add_argument("--show", type=int, help="print the made-up page of this place instead")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if arguments.show is not None:
        for form in made_up_pages(arguments.pages, arguments.seed)[arguments.show].forms:
            sys.stdout.write(f"{form.content_type} {dict(form.headers)}\n{form.text}\n")
        return 0
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        count, found = asyncio.run(_compared(arguments, Path(folder)))
    sys.stdout.write(describe(found) + "\n")
    for kind, number in sorted(Counter(each.kind for each in found).items()):
        sys.stdout.write(f"{number:6} {kind}, on {len({each.page for each in found if each.kind == kind})} pages\n")
    sys.stdout.write(f"{count} pages or pairs of runs, {len(found)} differences, {time.perf_counter() - began:.1f} s\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
