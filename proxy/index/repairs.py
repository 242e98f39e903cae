"""What mends a mirror from a second index: built once for all mirrors, from the settings of `[reference]`."""

from dataclasses import dataclass

from proxy.config import Settings
from proxy.index.second import SecondIndex, second_mirror
from proxy.store import Store


@dataclass(frozen=True, slots=True)
class Repairs:
    """The second index that fills pages; None where there is none."""

    reference: SecondIndex | None = None

    async def open(self) -> None:
        """Makes ready; nothing is dialled yet."""
        for second in self._all():
            await second.mirror.open()

    async def close(self) -> None:
        """Stops what is under way, and closes connections."""
        for second in self._all():
            await second.close()
            await second.mirror.close()

    def _all(self) -> list[SecondIndex]:
        return [each for each in (self.reference,) if each is not None]


NO_REPAIRS = Repairs()


def repairs(settings: Settings, store: Store) -> Repairs:
    """Gives what `settings` ask for; it is to be opened, and closed. Raises OSError where a file of its TLS cannot be read."""
    section = settings.reference
    if section.url is None:
        return NO_REPAIRS
    return Repairs(SecondIndex(second_mirror(section, "reference", settings.probe), section, section, store))
