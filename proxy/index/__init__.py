"""The straight path from a project's name to its mended page, its files and their metadata.

`Index` is the door; `pages` keeps the mirror's pages fresh, `project` holds what is known of one, `schedule` says what is asked when,
`verification` asks the mirror, `gate` gives core metadata, `served` renders, `keeper` stands before the store.
"""

from proxy.index.index import Holding, Index
from proxy.index.served import ServedPage

__all__ = ["Holding", "Index", "ServedPage"]
