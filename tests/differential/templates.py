"""Pages as templates: text with `@name:…@` marks for what is known only once the mirror listens.

| mark | becomes |
|---|---|
| `@project@` | the name of the project, which differs for each page of a run |
| `@origin@` | scheme, host and port of the mirror |
| `@sha256:KEY@`, `@md5:KEY@`, … | the digest of the file at the mirror whose decoded path is KEY |
| `@size:KEY@`, `@metadata:KEY@` | its size in bytes, the SHA-256 of its core metadata |
"""

import hashlib
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.differential.contents import Content, content_key, content_of, filename_in
from tests.differential.observations import Entry
from tests.differential.standin import TEXT_HTML, SourcePage, Written

_MARK = re.compile(r"@(size|metadata|[a-z0-9_]+):([^@]+)@")


@dataclass(frozen=True)
class Template:
    """A page in one form, before its marks are replaced; a lone surrogate stands for a byte that is no UTF-8."""

    text: str
    content_type: str = TEXT_HTML
    headers: Mapping[str, str] = field(default_factory=dict)

    def written(self, project: str, origin: str) -> Written:
        """Return the page as the mirror sends it."""
        text = self.text.replace("@project@", project).replace("@PROJECT@", project.capitalize())
        text = text.replace("@origin@", origin).replace("@port@", origin.rpartition(":")[2])
        text = _MARK.sub(_fact, text)
        return Written(text.encode(errors="surrogateescape"), self.content_type, self.headers)


@dataclass(frozen=True)
class PageTemplate:
    """A project's page in the forms that a mirror speaks. `dead` are the keys of files that it lists and does not have.

    Where `moved_to` is a path, the address of the page redirects to it.
    """

    title: str
    forms: tuple[Template, ...]
    dead: tuple[str, ...] = ()
    moved_to: str = ""

    def page(self, project: str, origin: str) -> SourcePage:
        """Return the page of the project `project` at the mirror at `origin`."""
        dead = frozenset(key.replace("@project@", project) for key in self.dead)
        return SourcePage(
            project,
            tuple(form.written(project, origin) for form in self.forms),
            self.title,
            dead,
            self.moved_to.replace("@project@", project),
        )


def default_content(url: str, stated: Sequence[Entry] = ()) -> Content:
    """Return the content that the mirror has at an address; the page tells of which name it is, or else the address."""
    return content_of(stated[0].name if stated else filename_in(url), content_key(url))


def _fact(mark: re.Match[str]) -> str:
    name, key = mark.groups()
    path, mark_of_query, query = html.unescape(key).partition("?")
    content = default_content(path.replace("%", "%25") + mark_of_query + query)
    if name == "size":
        return str(content.size)
    data = content.metadata or b"" if name == "metadata" else content.whole
    if name in {"blake2b", "blake2b_256"}:
        # With the length that PyPI gives it, which is the only one that uv takes.
        return hashlib.blake2b(data, digest_size=32).hexdigest()
    return hashlib.new("sha256" if name == "metadata" else name, data, usedforsecurity=False).hexdigest()
