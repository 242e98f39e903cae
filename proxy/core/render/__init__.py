"""A `Page` becomes bytes in the form that the client prefers: `forms` chooses, `pages` writes."""

from proxy.core.render.forms import Form, choose_form, html_form
from proxy.core.render.pages import LinkMaker, MetadataOffer, Offer, proxied_links, render_page

__all__ = ["Form", "LinkMaker", "MetadataOffer", "Offer", "choose_form", "html_form", "proxied_links", "render_page"]
