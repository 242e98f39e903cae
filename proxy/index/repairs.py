"""What mends a mirror from a second index: built once for all mirrors, from the settings of `[reference]` and `[rescue]`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.config import SecondSection, Settings
from proxy.index.second import SecondIndex, is_among, is_excluded, second_mirror
from proxy.store import Store


@dataclass(frozen=True, slots=True)
class Repairs:
    """The second index that fills pages, and the one that files are rescued from; often the same one, None where there is none."""

    reference: SecondIndex | None = None
    rescue: SecondIndex | None = None

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
        own = None if self.rescue is self.reference else self.rescue
        return [each for each in (self.reference, own) if each is not None]


NO_REPAIRS = Repairs()


def repairs(settings: Settings, store: Store, *, clock: Callable[[], float] = time.time) -> Repairs:
    """Gives what `settings` ask for; it is to be opened, and closed. `clock` tells seconds since the epoch.

    Files are rescued only of projects that `[reference]` names as well. A project that one of the two sections excludes is private:
    neither index is asked about it, also where the other section has an address of its own, or is not in use.
    Raises OSError where a file of its TLS cannot be read.
    """
    section, rescue = settings.reference, settings.rescue

    def index(own: SecondSection, name: str, admitted: Callable[[str], bool]) -> SecondIndex:
        return SecondIndex(second_mirror(own, name, settings.probe), own, section, store, clock=clock, admitted=admitted)

    reference = own = None
    if section.url is not None:
        reference = index(section, "reference", lambda name: not is_excluded(name, rescue))
    if rescue.enabled and rescue.url is not None:
        own = index(rescue, "rescue", lambda name: is_among(name, section))
    return Repairs(reference, own or reference if rescue.enabled else None)
