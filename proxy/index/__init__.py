"""The straight path from a project's name to its mended page, its files and their metadata.

`Index` is the door; `pages` keeps the mirror's pages fresh, `project` holds what is known of one, `schedule` says what is asked when,
`verification` asks the mirror, `gate` gives core metadata, `served` renders, `keeper` stands before the store;
`repairs` has what mends pages from a second index, `second` its pages, and `filling` takes over what the mirror lost.
"""

from proxy.index.index import Holding, Index
from proxy.index.repairs import Repairs, repairs
from proxy.index.served import ServedPage

__all__ = ["Holding", "Index", "Repairs", "ServedPage", "repairs"]
