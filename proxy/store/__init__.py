"""Pages, verdicts and metadata as byte documents, through aiocache: memory, a SQLite file, Redis."""

from proxy.store.lease import Lease
from proxy.store.opening import StoreMisconfigured, open_store
from proxy.store.patience import context_of_nobody, patience_anew, patience_of_a_page
from proxy.store.reach import BackendState
from proxy.store.read_through import Documents
from proxy.store.store import Room, Store, StoreStats

__all__ = [
    "BackendState",
    "Documents",
    "Lease",
    "Room",
    "Store",
    "StoreMisconfigured",
    "StoreStats",
    "context_of_nobody",
    "open_store",
    "patience_anew",
    "patience_of_a_page",
]
