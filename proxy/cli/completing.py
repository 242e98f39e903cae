"""`mirrormend completion`: the script with which a shell completes commands, options, files and the words that a setting allows."""

from collections.abc import Callable, Sequence

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
_EPILOG = """\
\b
Where it goes:
  bash  ~/.local/share/bash-completion/completions/mirrormend
  zsh   ~/.zfunc/_mirrormend, with ~/.zfunc in fpath before compinit
  fish  ~/.config/fish/completions/mirrormend.fish

\b
Example:
  mirrormend completion fish > ~/.config/fish/completions/mirrormend.fish
"""

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def words(choices: Sequence[str]) -> Completer:
    """Gives what completes an option by one of `choices`, though others may be written, whose errors the settings word better."""

    def complete(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(begun)]

    return complete


@click.command(epilog=_EPILOG)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete mirrormend's words."""
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"there is no completion for {shell}; choose one of {', '.join(_SHELLS)}")
    root = context.find_root()
    click.echo(found(root.command, {}, "mirrormend", "_MIRRORMEND_COMPLETE").source())
