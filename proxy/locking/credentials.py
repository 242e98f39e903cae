"""Credentials that uv has for an index: those of its variables, of the index's address, and of netrc."""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from proxy.config import Settings, UpstreamSection
from proxy.core.index_urls import same_for_uv
from proxy.locking.addresses import with_credentials
from proxy.locking.indexes import UvIndex
from proxy.upstream.addresses import without_credentials
from proxy.upstream.credentials import netrc_credentials


def settings_with_credentials(
    settings: Settings, indexes: Sequence[UvIndex], environ: Mapping[str, str]
) -> tuple[Settings, frozenset[str]]:
    """Return the settings with uv's own credentials for the mirrors that have none there, and the variables that uv takes such from.

    uv is not to see these: it would send them to the proxy, in the place of those that the proxy wants.
    """
    upstreams: list[UpstreamSection] = []
    without: set[str] = set()
    for section in settings.upstream:
        its = [index for index in indexes if same_for_uv(index.url, section.url)]
        without.update(variable for index in its for variable in credentials_variables(index))
        has_some = section.token or section.username or section.password
        url = section.url if has_some else _with_credentials_of_uv(section.url, its, environ)
        upstreams.append(section.model_copy(update={"url": url}))
    return settings.model_copy(update={"upstream": tuple(upstreams)}), frozenset(without)


def _with_credentials_of_uv(url: str, indexes: Sequence[UvIndex], environ: Mapping[str, str]) -> str:
    """Return the mirror's address with those credentials that uv would use; to a user alone netrc has the password, as it has for uv."""
    own = credentials_in(url)
    known = (credentials_of(index, environ) for index in indexes)
    found = own if own[1] else next((each for each in known if each and own[0] in {"", each[0]}), None) or own
    if found[0] and not found[1]:
        of_netrc = netrc_credentials(urlsplit(url).hostname or "", environ)
        found = of_netrc if of_netrc is not None and of_netrc[0] == found[0] else found
    return with_credentials(without_credentials(url), found if any(found) else None)


def credentials_of(index: UvIndex, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return user and password that uv has for an index: those of UV_INDEX_<NAME>_USERNAME and _PASSWORD before those in its address.

    Without a password the user alone is returned, for whom netrc may have one.
    """
    of_variables = [environ.get(variable, "") for variable in credentials_variables(index)] or ["", ""]
    user, password = credentials_in(index.url)
    given = [(of_variables[0], of_variables[1]), (user, password), (of_variables[0] or user, of_variables[1] or password)]
    complete = (each for each in given if all(each))
    return next(complete, None) or next((each for each in given if any(each)), None)


def credentials_in(url: str) -> tuple[str, str]:
    """Return user and password in an address, each empty if it has none."""
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or "")


def credentials_variables(index: UvIndex) -> tuple[str, ...]:
    """Return the variables from which uv takes user and password for an index, in this order; none for an index without a name."""
    if index.name is None:
        return ()
    stem = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in index.name).upper()
    return f"UV_INDEX_{stem}_USERNAME", f"UV_INDEX_{stem}_PASSWORD"
