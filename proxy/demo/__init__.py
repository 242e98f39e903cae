"""`mirrormend demo`: a broken mirror made up on this machine, and the same lock made from it directly and through the proxy.

Nothing is dialled but loopback, and what is written goes to a temporary folder.
"""

from proxy.demo.show import run, serve_mirror

__all__ = ["run", "serve_mirror"]
