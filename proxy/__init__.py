"""mirrormend: an async reverse proxy that mends what a broken Python index mirror says until it is true."""

__version__ = "0.1.0"
