"""Requirements of sdists, read out of their bytes while these pass through to a client.

A resolver reads PKG-INFO of an sdist that has no wheel beside it, and asks for the pages of what that requires next. It is noted before
the client has the whole sdist. The mirror is asked for nothing, and the bytes are sent on whatever they hold.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from functools import partial

from proxy.core.flows.metadata import static_metadata
from proxy.core.page import File, Packaging, Page
from proxy.index.flights import Tasks
from proxy.index.metadata_reading import MetadataReader
from proxy.index.project import Project
from proxy.index.requirements_seen import RequirementsSeen

_OF_A_SMALL_ONE = 2 * 1024 * 1024
"""Bytes of the largest sdist that is looked at whole: many build backends put PKG-INFO at its end."""

_OF_A_LARGE_ONE = 256 * 1024
"""Bytes of the beginning of any other."""

_AT_ONCE = 32
"""Sdists whose bytes are kept at once until they are looked at: 64 MiB at most."""

_HELD_FOR = 1.0
"""Seconds for which the bytes wait at most until what they require is noted."""


class Overhearing:
    """Note in `requirements` what the sdists require that pass through."""

    def __init__(self, requirements: RequirementsSeen, tasks: Tasks) -> None:
        self._requirements = requirements
        self._tasks = tasks
        self._reader = MetadataReader()
        self._kept = 0

    def overheard(self, project: Project, page: Page, file: File, chunks: AsyncIterator[bytes], length: int | None) -> AsyncIterator[bytes]:
        """Return `chunks`, all that there is of `file` (so many bytes), which note what it requires if it is an sdist of the project."""
        if file.packaging is not Packaging.SDIST or not file.filename.endswith(".tar.gz") or self._kept >= _AT_ONCE:
            return chunks
        small = length is not None and length <= _OF_A_SMALL_ONE
        return self._listened(project, page.release_of(file).spelling, chunks, length if small and length else _OF_A_LARGE_ONE)

    async def _listened(self, project: Project, version: str, chunks: AsyncIterator[bytes], enough: int) -> AsyncIterator[bytes]:
        kept: list[bytes] | None = []
        size = 0
        self._kept += 1
        try:
            async for chunk in chunks:
                if kept is not None:
                    kept.append(chunk)
                    size += len(chunk)
                    if size >= enough:
                        # Before the chunk leaves: it may be the last one.
                        await self._note(project, version, kept)
                        kept = None
                        self._kept -= 1
                yield chunk
            if kept:
                await self._note(project, version, kept)
        finally:
            if kept is not None:
                self._kept -= 1

    async def _note(self, project: Project, version: str, kept: list[bytes]) -> None:
        noting = self._tasks.start(self._look(project, version, b"".join(kept)), f"overhear {project.name}")
        await asyncio.wait({noting}, timeout=_HELD_FOR)

    async def _look(self, project: Project, version: str, beginning: bytes) -> None:
        with self._requirements.reading(project.who):
            found = await self._reader.apart(partial(_read, beginning, project.name, version))
            if found is not None:
                self._requirements.note(project.who, project.name, *found)


def _read(beginning: bytes, project: str, version: str) -> tuple[str, bytes] | None:
    content = static_metadata(beginning, project, version)
    return None if content is None else (hashlib.sha256(content).hexdigest(), content)
