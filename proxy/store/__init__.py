"""Pages, verdicts and metadata as byte documents, through aiocache: memory, a SQLite file, Redis."""

from proxy.store.lease import Lease
from proxy.store.opening import StoreMisconfigured, open_store
from proxy.store.reach import BackendState
from proxy.store.store import Room, Store, StoreStats

__all__ = ["BackendState", "Lease", "Room", "Store", "StoreMisconfigured", "StoreStats", "open_store"]
