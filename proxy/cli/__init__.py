"""The command `mirrormend`. Only what is typed and what is said to the one who typed it may live here."""

from proxy.cli.command import main

__all__ = ["main"]
