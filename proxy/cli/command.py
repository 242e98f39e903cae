"""The command and its subcommands. What a subcommand needs is imported when it runs, so that --help and --version answer at once."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from proxy import __version__
from proxy.core.errors import MirrormendError

_EPILOG = """\
A setting is looked for on the command line, then in the environment, then in the file. An option's variable is named like it: \
MIRRORMEND_UPSTREAM is --upstream. Every key of the file has one as well, MIRRORMEND_<SECTION>_<KEY>. \
Credentials are best given that way: MIRRORMEND_UPSTREAM_TOKEN.

\b
Example:
  mirrormend serve --upstream https://mirror.example.com/api/pypi/pypi/simple/
  uv lock --default-index http://127.0.0.1:8080/simple/
"""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and ends the process with its status; `args` are those of the process where None.

    What is wrong is said in one line on standard error, without usage and traceback.
    Status 2 is for what the user wrote, 1 for what could not be done, 130 for an interruption.
    """
    try:
        status = commands.main(args, prog_name="mirrormend", standalone_mode=False)
    except click.ClickException as error:
        _say(error.format_message())
        status = error.exit_code
    except MirrormendError as error:
        _say(str(error))
        status = 2
    except (click.Abort, KeyboardInterrupt):
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


def _say(what: str) -> None:
    click.echo(f"mirrormend: {' '.join(what.split())}", err=True)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="mirrormend", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """Mends what a broken Python package mirror says.

    A proxy between uv (or pip, Poetry, PDM) and a mirror of PyPI. It drops the files that the mirror lists and does not deliver.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@commands.command(epilog=_EPILOG)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as TOML; see config.example.toml.")
@click.option("--upstream", metavar="URL", help="The simple API of the mirror to mend.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen. [default: 127.0.0.1:8080]")
@click.option(
    "--store",
    metavar="STORE",
    help="Where to remember: memory, sqlite[:PATH] or redis://HOST:PORT/DB. [default: sqlite, in the user's cache folder]",
)
@click.option(
    "--links",
    metavar="MODE",
    help="Where links lead: proxy streams the files, redirect sends the client to the mirror, direct links to the mirror. [default: proxy]",
)
@click.option("--log-format", metavar="FORMAT", help="console for people, json for machines. [default: console]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error. [default: info]")
def serve(config: Path | None, **options: str | None) -> int:
    """Serve the mended index until SIGTERM or Ctrl-C."""
    from proxy.cli.serving import run_server  # noqa: PLC0415 - aiohttp takes a moment, and --help does not need it

    return run_server(config, options)


@commands.command()
@click.option("--keep", is_flag=True, help="Go on serving until Ctrl-C, to be looked at.")
@click.option(
    "--mirror", metavar="HOST:PORT", help="Serve the broken mirror alone there, until Ctrl-C: to put a proxy of your own before it."
)
def demo(keep: bool, mirror: str | None) -> int:
    """Show the repair on a broken mirror that is made up on this machine."""
    from proxy.demo import run, serve_mirror  # noqa: PLC0415 - as above

    if mirror is None:
        return run(keep)
    if keep:
        raise click.UsageError("--keep and --mirror do not go together: --mirror serves until Ctrl-C anyway")
    return serve_mirror(mirror)


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


class _Budget(click.ParamType[str]):
    name = "budget"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Lets `auto`, `all` and whole numbers pass."""
        text = str(value)
        if text not in {"auto", "all"} and not text.isdecimal():
            self.fail(f"{text[:40]!r} is not allowed; write auto, all or a whole number from 0", param, ctx)
        return text


@commands.command(epilog=_CHECK_EPILOG)
@click.argument("requirement", nargs=-1)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as TOML; see config.example.toml.")
@click.option("--upstream", metavar="URL", help="The simple API of the mirror to check.")
@click.option(
    "--lock",
    "locks",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Check what a uv.lock, pylock.toml, requirements.txt or pyproject.toml needs, and where it can be installed.",
)
@click.option(
    "-r", "--requirements", type=click.Path(path_type=Path), multiple=True, metavar="FILE", help="Check what a requirements file names."
)
@click.option("--closure", is_flag=True, help="Follow what the requirements depend on, too; done for a pyproject.toml anyway.")
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
    **options: str | None,
) -> int:
    """Report which files a mirror lists and cannot deliver.

    REQUIREMENT is the name of a project, such as tornado, or a release of it, such as tornado==6.4.2.
    """
    from proxy.cli.checking import Asked, run_check  # noqa: PLC0415 - as above

    asked = Asked(requirement, locks, requirements, closure, budget, form, output, quiet)
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


@commands.command(epilog=_EXPLAIN_EPILOG)
@click.argument("filename")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as TOML; see config.example.toml.")
@click.option("--upstream", metavar="URL", help="The simple API of the mirror to ask.")
@click.option("--proxy", metavar="URL", help="Ask a running proxy instead, such as http://127.0.0.1:8080.")
@click.option("--project", metavar="NAME", help="The project that the file is of. [default: what its name says]")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="The form of the answer. [default: text]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error. [default: error]")
def explain(filename: str, config: Path | None, proxy: str | None, project: str | None, form: str, **options: str | None) -> int:
    """Tell what is known of one file, and why it is listed or is not."""
    from proxy.cli.explaining import run_explain  # noqa: PLC0415 - as above

    return run_explain(config, options, filename, project=project, proxy=proxy, form=form)


_LOCK_EPILOG = """\
The status is that of uv lock; 1 where the lock could not be made to name the mirror, or where --check finds a proxy; \
2 for wrong words or settings.

\b
Examples:
  mirrormend lock
  mirrormend lock -- --upgrade-package tornado
  mirrormend lock --proxy http://proxy.example.com:8080/simple/
  mirrormend lock --check
"""


@commands.command(epilog=_LOCK_EPILOG)
@click.option("--upstream", metavar="URL", help="The mirror. [default: of the settings, else the index that uv's settings name]")
@click.option("--proxy", metavar="URL", help="A mirrormend that runs; without it, one is started for the time of the lock.")
@click.option("--project", type=click.Path(path_type=Path), metavar="DIR", help="Where the project is. [default: here]")
@click.option("--to", type=click.Choice(["mirror", "proxy"]), help="Change the addresses in uv.lock only, without uv.")
@click.option("--check", is_flag=True, help="Change nothing; end with 1 where uv.lock names a proxy.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as TOML, as for serve.")
@click.option("--log-level", metavar="LEVEL", default="error", help="Of the proxy that is started. [default: error]")
@click.argument("uv_arguments", nargs=-1, metavar="[-- UV_LOCK_ARGUMENTS...]")
def lock(project: Path | None, uv_arguments: tuple[str, ...], **typed: Any) -> int:
    """Run uv lock through the proxy, and let uv.lock name the mirror.

    Such a lock works without the proxy, for everybody who reaches the mirror.
    """
    from proxy.cli.locking import Order, run_lock  # noqa: PLC0415 - as above

    return run_lock(Order(folder=project, arguments=uv_arguments, **typed))
