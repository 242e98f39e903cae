"""The subcommands that look at a mirror without serving it: what can be typed, and what --help says of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_CHECK_EPILOG = """\
Nothing has to run for it, and nothing is changed. A file counts as undeliverable only on the proof that the proxy asks for. \
Each finding comes with a curl line that repeats it; credentials are never part of it.

\b
Exit status:
  0  sound
  1  something was found
  2  nothing was found, but not everything could be checked
     (also: what was written on the command line cannot be used)

Ctrl-C ends the check and reports what is known so far: 1 if something was found, else 2.

\b
Examples:
  mirrormend check --upstream https://mirror.example.com/simple/ tornado
  mirrormend check --lock uv.lock --format html --output mirror.html
  mirrormend check --lock uv.lock --format github
"""


Command = TypeVar("Command", bound=Callable[..., int])


def _of_a_mirror(upstream: str) -> Callable[[Command], Command]:
    """Gives the options that say which mirror is meant; `upstream` is the help of the one with its address."""

    def decorate(command: Command) -> Command:
        command = click.option("--mirror", metavar="NAME", help="Which mirror, where the settings have several. [default: the first]")(
            command
        )
        command = click.option("--upstream", metavar="URL", help=upstream)(command)
        file = click.Path(path_type=Path)
        return click.option("--config", type=file, metavar="FILE", help="Settings as TOML; see config.example.toml.")(command)

    return decorate


def _what_is_wanted(verb: str, besides: str = "") -> Callable[[Command], Command]:
    """Gives the requirements and the options for files that name more of them; `verb` says what is done with these, `besides` what else."""
    files: dict[str, Any] = {"type": click.Path(path_type=Path), "multiple": True, "metavar": "FILE"}
    lock = f"{verb} what a lock (of uv, Poetry, PDM, Pipenv; pylock.toml), requirements.txt or pyproject.toml needs{besides}."
    index = "The mirror has the packages that a lock takes from this index; for a lock of several indexes that does not name the mirror."
    closure = "Follow what the requirements depend on, too; done for a pyproject.toml anyway."

    def decorate(command: Command) -> Command:
        command = click.option("--closure", is_flag=True, help=closure)(command)
        command = click.option("--lock-index", "lock_indexes", multiple=True, metavar="URL", help=index)(command)
        command = click.option("-r", "--requirements", **files, help=f"{verb} what a requirements file names.")(command)
        command = click.option("--lock", "locks", **files, help=lock)(command)
        return click.argument("requirement", nargs=-1)(command)

    return decorate


class _Budget(click.ParamType[str]):
    name = "budget"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Lets `auto`, `all` and whole numbers pass."""
        text = str(value)
        if text not in {"auto", "all"} and not text.isdecimal():
            self.fail(f"{text[:40]!r} is not allowed; write auto, all or a whole number from 0", param, ctx)
        return text


@click.command(epilog=_CHECK_EPILOG)
@_of_a_mirror("The simple API of the mirror to check.")
@_what_is_wanted("Check", ", and where it can be installed")
@click.option(
    "--budget",
    type=_Budget(),
    default="auto",
    metavar="auto|all|N",
    help="Files to ask about per project: as many as the proxy would, all, or N. On Nexus each can be a download. [default: auto]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "html", "junit", "github"]),
    default="table",
    help="The form of the report: for people, for machines, one HTML file, JUnit's XML, annotations of CI. [default: table]",
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the report there. [default: standard output]")
@click.option("-q", "--quiet", is_flag=True, help="Do not tell how far it is.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error. [default: error]")
def check(  # noqa: PLR0917 - click gives them by name
    requirement: tuple[str, ...],
    config: Path | None,
    locks: tuple[Path, ...],
    requirements: tuple[Path, ...],
    closure: bool,
    budget: str,
    form: str,
    output: Path | None,
    quiet: bool,
    mirror: str | None,
    lock_indexes: tuple[str, ...],
    **options: str | None,
) -> int:
    """Report which files a mirror lists and cannot deliver.

    REQUIREMENT is the name of a project, such as tornado, or a release of it, such as tornado==6.4.2.
    """
    from proxy.cli.checking import Asked, run_check  # noqa: PLC0415 - see `command`

    asked = Asked(requirement, locks, requirements, closure, budget, form, output, quiet, mirror, lock_indexes)
    return run_check(config, options, asked)


_EXPLAIN_EPILOG = """\
Without --proxy the mirror itself is asked: for the page, and for the file by HEAD and by a GET of one byte, as the proxy would. \
With --proxy a running proxy tells what it knows, and nothing is asked about the file.

\b
Exit status:
  0  the file is listed, and nothing is known against it
  1  it is not listed, or would be dropped, or could not be had just now
  2  nothing could be learned

\b
Examples:
  mirrormend explain --upstream https://mirror.example.com/simple/ \\
      tornado-6.4.2-cp38-abi3-macosx_10_9_universal2.whl
  mirrormend explain --proxy http://127.0.0.1:8080 tornado-6.4.2.tar.gz
"""


@click.command(epilog=_EXPLAIN_EPILOG)
@click.argument("filename")
@_of_a_mirror("The simple API of the mirror to ask.")
@click.option("--proxy", metavar="URL", help="Ask a running proxy instead, such as http://127.0.0.1:8080.")
@click.option("--project", metavar="NAME", help="The project that the file is of. [default: what its name says]")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="The form of the answer. [default: text]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error. [default: error]")
def explain(  # noqa: PLR0917 - click gives them by name
    filename: str,
    config: Path | None,
    mirror: str | None,
    proxy: str | None,
    project: str | None,
    form: str,
    **options: str | None,
) -> int:
    """Tell what is known of one file, and why it is listed or is not."""
    from proxy.cli.explaining import run_explain  # noqa: PLC0415 - see `command`

    return run_explain(config, options, filename, project=project, proxy=proxy, mirror=mirror, form=form)


_WARM_EPILOG = """\
It learns what a proxy with the same settings would have to learn from its clients: the pages, which files the mirror delivers, \
as far as the budget goes, and the metadata that a resolver reads first. For a lock that is done for the locked releases. \
It writes to the store of the settings, for a proxy that starts with it afterwards; one that runs already goes by what it has in memory.

\b
Exit status:
  0  everything was learned
  1  some projects, releases or locked files could not be had, not all
     that was given could be read, or somebody ended it
  2  no project could be had, or what was given cannot be used

\b
Examples:
  mirrormend warm --lock uv.lock && mirrormend serve
  mirrormend warm --config mirrormend.toml --closure jupyter
"""


@click.command(epilog=_WARM_EPILOG)
@_of_a_mirror("The simple API of the mirror.")
@_what_is_wanted("Learn")
@click.option(
    "--store",
    metavar="STORE",
    help="Where to remember: sqlite[:PATH] or redis://HOST:PORT/DB. [default: sqlite, in the user's cache folder]",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not tell how far it is.")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error. [default: error]")
def warm(  # noqa: PLR0917 - click gives them by name
    requirement: tuple[str, ...],
    config: Path | None,
    mirror: str | None,
    locks: tuple[Path, ...],
    requirements: tuple[Path, ...],
    lock_indexes: tuple[str, ...],
    closure: bool,
    quiet: bool,
    **options: str | None,
) -> int:
    """Fill the store ahead, so that a proxy starts with it.

    REQUIREMENT is the name of a project, such as tornado, or a release of it, such as tornado==6.4.2.
    """
    from proxy.cli.warming import Wanted, run_warm  # noqa: PLC0415 - see `command`

    return run_warm(config, options, Wanted(requirement, locks, requirements, closure, quiet, mirror, lock_indexes))
