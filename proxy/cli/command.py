"""The command and its subcommands. What a subcommand needs is imported when it runs, so that --help and --version answer at once."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from proxy import __version__
from proxy.cli.auditing import check, explain, warm
from proxy.cli.completing import completion, words
from proxy.cli.signals import signals_held
from proxy.core.errors import MirrormendError

_EPILOG = """\
A setting is looked for on the command line, then in the environment, then in the file. An option's variable is named like it: \
MIRRORMEND_UPSTREAM is --upstream. Every key of the file has one as well, MIRRORMEND_<SECTION>_<KEY>. \
Credentials are best given that way: MIRRORMEND_UPSTREAM_TOKEN.

\b
Signals:
  SIGTERM, SIGINT  requests in flight may finish; a second one ends all
  SIGHUP           the settings are read again, and put in force if they can

\b
Exit status:
  0  it was told to end
  1  it could not serve, because the port is taken, say
  2  a setting cannot be used

\b
Example:
  mirrormend serve --upstream https://mirror.example.com/api/pypi/pypi/simple/
  uv lock --default-index http://127.0.0.1:8080/simple/
"""
_ROOT_EPILOG = """\
\b
To begin:
  mirrormend demo                       see the point in a few seconds
  mirrormend serve --upstream URL       put it in front of a mirror
  mirrormend check --upstream URL NAME  show the mirror's admin what is wrong

Each command tells more with --help. A browser gets a page about the proxy at its address.
"""
_DEMO_EPILOG = """\
Nothing is dialled but this machine, and nothing stays behind. It takes a few seconds, and uv, if that is there.

\b
Exit status:
  0  the lock that failed at the mirror worked through the proxy
  1  it did not
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


@click.group(
    epilog=_ROOT_EPILOG, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}
)
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
@click.option("--workers", metavar="N", help="How many processes serve on that port. [default: 1]")
@click.option(
    "--store",
    metavar="STORE",
    shell_complete=words(("memory", "sqlite", "sqlite:", "redis://")),
    help="Where to remember: memory, sqlite[:PATH] or redis://HOST:PORT/DB. [default: sqlite, in the user's cache folder]",
)
@click.option(
    "--links",
    metavar="MODE",
    shell_complete=words(("proxy", "redirect", "direct")),
    help="Where links lead: proxy streams the files, redirect sends the client to the mirror, direct links to the mirror. [default: proxy]",
)
@click.option(
    "--log-format",
    metavar="FORMAT",
    shell_complete=words(("console", "json")),
    help="console for people, json for machines. [default: console]",
)
@click.option(
    "--log-level",
    metavar="LEVEL",
    shell_complete=words(("debug", "info", "warning", "error")),
    help="debug, info, warning or error. [default: info]",
)
def serve(config: Path | None, **options: str | None) -> int:
    """Serve the mended index until SIGTERM or Ctrl-C."""
    with signals_held():
        from proxy.cli.serving import run_server  # noqa: PLC0415 - aiohttp takes a moment, and --help does not need it

        return run_server(config, options)


@commands.command(epilog=_DEMO_EPILOG)
@click.option("--keep", is_flag=True, help="Go on serving until Ctrl-C, to be looked at.")
@click.option("--mirror", metavar="HOST:PORT", help="Serve the broken mirror alone, until Ctrl-C, to put a proxy of your own before it.")
def demo(keep: bool, mirror: str | None) -> int:
    """Show the repair on a made-up broken mirror."""
    from proxy.demo import run, serve_mirror  # noqa: PLC0415 - as above

    if mirror is None:
        return run(keep)
    if keep:
        raise click.UsageError("--keep and --mirror do not go together: --mirror serves until Ctrl-C anyway")
    return serve_mirror(mirror)


_LOCK_EPILOG = """\
The status is that of uv lock; 1 where the lock could not be made to name the mirror, or where --check finds a proxy; \
2 for wrong words or settings.

\b
Examples:
  mirrormend lock
  mirrormend lock -- --upgrade-package tornado
  mirrormend lock --script tool.py
  mirrormend lock --proxy http://proxy.example.com:8080/simple/
  mirrormend lock --check
"""


@commands.command(epilog=_LOCK_EPILOG)
@click.option("--upstream", metavar="URL", help="The mirror. [default: of the settings, else the index that uv's settings name]")
@click.option("--proxy", metavar="URL", help="A mirrormend that runs; without it, one is started for the time of the lock.")
@click.option("--project", type=click.Path(path_type=Path), metavar="DIR", help="Where the project is. [default: here]")
@click.option("--script", type=click.Path(path_type=Path), metavar="FILE", help="Lock this script, as uv lock --script does.")
@click.option("--to", type=click.Choice(["mirror", "proxy"]), help="Change the addresses in uv.lock only, without uv.")
@click.option("--check", is_flag=True, help="Change nothing; end with 1 where uv.lock names a proxy.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings as TOML, as for serve.")
@click.option("--log-level", metavar="LEVEL", default="error", help="Of the proxy that is started. [default: error]")
@click.argument("uv_arguments", nargs=-1, metavar="[-- UV_LOCK_ARGUMENTS...]")
def lock(project: Path | None, uv_arguments: tuple[str, ...], **typed: Any) -> int:
    """Run uv lock through the proxy, and let uv.lock name the mirror.

    Such a lock works without the proxy, for everybody who reaches the mirror.

    uv add, uv remove, uv sync and uv run lock by themselves, without the proxy. Say uv add --frozen or uv remove --frozen,
    then mirrormend lock, then uv sync --locked or uv run --locked.
    """
    from proxy.cli.locking import Order, run_lock  # noqa: PLC0415 - as above

    return run_lock(Order(folder=project, arguments=uv_arguments, **typed))


for each in (check, completion, explain, warm):
    commands.add_command(each)
