"""A `Page` becomes bytes in the form that the client prefers: `forms` chooses, `pages` writes."""

from proxy.core.render.forms import Form, choose_form
from proxy.core.render.pages import Renderer, proxied_link, render_page

__all__ = ["Form", "Renderer", "choose_form", "proxied_link", "render_page"]
