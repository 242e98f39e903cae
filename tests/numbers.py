"""Reading `/metrics` as Prometheus would."""

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Client


@dataclass(frozen=True)
class Numbers:
    """The samples of one reading: name, labels, value."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    @property
    def names(self) -> set[str]:
        return {name for name, _, _ in self.samples}

    def of(self, name: str, **labels: str) -> float:
        """Gives the sum over the samples with this name and these labels, whatever else they have; fails where there is none."""
        found = [value for each, has, value in self.samples if each == name and labels.items() <= has.items()]
        assert found, f"no {name} with {labels}: {[has for each, has, _ in self.samples if each == name]}"
        return sum(found)

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is a sample with this name and these labels."""
        return any(each == name and labels.items() <= has.items() for each, has, _ in self.samples)


def parsed(text: str) -> Numbers:
    """Reads the exposition format."""
    families = list(text_string_to_metric_families(text))
    return Numbers(tuple((sample.name, sample.labels, sample.value) for family in families for sample in family.samples))


async def numbers(client: Client) -> Numbers:
    """Asks the application for its metrics."""
    answer = await client.get("/metrics")
    assert answer.status == 200
    return parsed(await answer.text())
