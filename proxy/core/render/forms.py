"""The forms of a page, and choosing one (PEP 691; RFC 9110, section 12.5.1)."""

from enum import StrEnum
from functools import lru_cache


class Form(StrEnum):
    """The media types in which a page can be served, the best first."""

    JSON = "application/vnd.pypi.simple.v1+json"
    HTML = "application/vnd.pypi.simple.v1+html"
    LEGACY_HTML = "text/html"


_NAMES: dict[str, Form] = {
    **{form.value: form for form in Form},
    "application/vnd.pypi.simple.latest+json": Form.JSON,
    "application/vnd.pypi.simple.latest+html": Form.HTML,
    "application/json": Form.JSON,
    "application/xhtml+xml": Form.LEGACY_HTML,
}
_SHORT = {"json": Form.JSON, "html": Form.HTML}


@lru_cache(maxsize=512)
def choose_form(accept: str | None, query_format: str | None) -> Form | None:
    """Gives the form to serve, None where none that is asked for can be served.

    `query_format` is the value of `?format=`, which goes before the Accept header (PEP 691).
    `application/json` is taken for the JSON form, and answered under that form's own name, by which clients of the simple API tell it;
    `application/xhtml+xml`, which browsers accept, for HTML.
    Who accepts anything gets HTML as `text/html`, as PEP 691 recommends for clients that do not know of forms.
    """
    if query_format is not None:
        wanted = query_format.strip().replace(" ", "+").lower()
        return _NAMES.get(wanted) or _SHORT.get(wanted)
    if accept is None or not accept.strip():
        return Form.LEGACY_HTML
    ranges = [parsed for part in accept.split(",") if (parsed := _parsed(part)) is not None]
    best: tuple[float, int, Form] | None = None
    for preference, form in enumerate(reversed(Form)):
        weight, specific = _weight(form, ranges)
        rank = (weight, preference + 10 * specific, form)
        if weight > 0 and (best is None or rank[:2] > best[:2]):
            best = rank
    if best is None:
        return None
    return best[2] if best[1] >= 10 else Form.LEGACY_HTML if _weight(Form.LEGACY_HTML, ranges)[0] == best[0] else best[2]


def html_form(accept: str | None) -> Form | None:
    """Return the form in HTML that the client takes, however unwillingly; None where it takes none."""
    ranges = [parsed for part in (accept or "*/*").split(",") if (parsed := _parsed(part)) is not None]
    return max((Form.HTML, Form.LEGACY_HTML), key=lambda form: _weight(form, ranges)[0]) if _takes_html(ranges) else None


def _takes_html(ranges: list[tuple[str, float]]) -> bool:
    return any(_weight(form, ranges)[0] > 0 for form in (Form.HTML, Form.LEGACY_HTML))


def _parsed(part: str) -> tuple[str, float] | None:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return None
    return (media_type, weight) if media_type and 0 <= weight <= 1 else None


def _weight(form: Form, ranges: list[tuple[str, float]]) -> tuple[float, bool]:
    """Gives the weight of the most specific range that the form falls under, and whether that names the form itself."""
    named = [weight for media_type, weight in ranges if _NAMES.get(media_type) is form]
    if named:
        return max(named), True
    group = [weight for media_type, weight in ranges if media_type == f"{form.value.partition('/')[0]}/*"]
    anything = [weight for media_type, weight in ranges if media_type == "*/*"]
    return max(group or anything or [0.0]), False
