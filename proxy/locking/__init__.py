"""Locks that a team can share: uv locks through the proxy, and the lock names the mirror."""
