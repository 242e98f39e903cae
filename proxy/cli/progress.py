"""How far work is, on standard error: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from proxy.audit.wording import how_many

_EVERY = 5.0
"""Seconds between two plain lines."""


class Telling:
    """Progress output while the block runs; its methods are those of `Watch` of the audit.

    `found` names one and several of what is counted.
    """

    def __init__(self, what: str, *, found: tuple[str, str] = ("finding", "findings"), quiet: bool = False) -> None:
        self._found = found
        self._what = what
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._projects = self._done = self._files = self._answered = self._findings = 0
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[more]}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=None, more="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def expects(self, projects: int) -> None:
        """There are so many projects to look at."""
        self._projects = projects
        self._show()

    def asks(self, files: int) -> None:
        """So many files more are to be asked about."""
        self._files += files
        self._show()

    def answered(self) -> None:
        """One answer more was heard."""
        self._answered += 1
        self._show()

    def done(self, project: str, findings: int) -> None:
        """A project is done, with so many findings."""
        _ = project
        self._done += 1
        self._findings += findings
        self._show()

    def _show(self) -> None:
        files = f"{min(self._answered, self._files)} of {how_many(self._files, 'file')}, " if self._files else ""
        more = f"{'project' if self._projects == 1 else 'projects'}, {files}{self._findings} {self._found[self._findings != 1]}"
        if self._bar is not None:
            self._bar.update(self._task, total=self._projects or None, completed=self._done, more=more)
            return
        now = time.monotonic()
        if self._quiet or (now - self._told < _EVERY and self._done < self._projects):
            return
        self._told = now
        sys.stderr.write(f"{self._what}: {self._done} of {self._projects} {more}\n")
        sys.stderr.flush()
