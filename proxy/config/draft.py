"""The settings while they are gathered: values not validated yet, and where each of them was written."""

from pydantic import ValidationError

from proxy.config.complaints import Place, complaint, no_upstream
from proxy.config.keys import sections
from proxy.config.sections import Settings


class Draft:
    """Values by section and key. A later `put` wins, so that sources are read from the weakest to the strongest.

    `upstreams` holds one table for each mirror, in their order.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, object]] = {name: {} for name in sections() if name != "upstream"}
        self.upstreams: list[dict[str, object]] = []
        self.origins: dict[Place, str] = {}

    def put(self, section: str, key: str, value: object, origin: str, *, index: int = 0) -> None:
        """Sets a key; `origin` names the place where it was written, `index` is the number of the upstream, 0 for the first."""
        if section != "upstream":
            self.tables[section][key] = value
            self.origins[section, key] = origin
            return
        if index == len(self.upstreams):
            self.upstreams.append({})
        self.upstreams[index][key] = value
        self.origins[section, index, key] = origin
        self.origins.setdefault((section, index), origin)

    def name_of(self, index: int) -> str:
        """Gives the name of an upstream."""
        return str(self.upstreams[index].get("name", "default"))

    def settings(self) -> Settings:
        """Gives the validated settings; raises SettingsError."""
        if not any("url" in upstream for upstream in self.upstreams):
            raise no_upstream()
        try:
            return Settings.model_validate({**self.tables, "upstream": self.upstreams})
        except ValidationError as error:
            raise complaint(error, self.origins) from None
