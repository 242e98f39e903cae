"""The HTTP surface: handlers, the error middleware, `create_app` and `serve`."""

from proxy.server.app import create_app
from proxy.server.run import serve

__all__ = ["create_app", "serve"]
