"""The text format of Prometheus, for runtimes that do not have its client."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Sample(NamedTuple):
    """One value. The suffix follows the name of its family."""

    value: float
    labels: Mapping[str, str]
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """The samples of one metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    samples: Iterable[Sample]


def page(families: Iterable[Family]) -> bytes:
    """Write all samples. A name of a task that is no text loses what cannot be written."""
    return "".join(line + "\n" for family in families for line in _lines(family)).encode(errors="replace")


def histogram(buckets: Iterable[float], counts: Iterable[int], total: float, labels: Mapping[str, str]) -> list[Sample]:
    """Return the samples of one histogram; counts are cumulative, the last is that of all."""
    *below, count = counts
    bounds = [*(f"{bucket:g}" for bucket in buckets), "+Inf"]
    samples = [
        Sample(value, {**labels, "le": bound}, "_bucket") for bound, value in zip(bounds, [*below, count], strict=True)
    ]
    return [*samples, Sample(count, labels, "_count"), Sample(total, labels, "_sum")]


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.text}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
        yield f"{family.name}{sample.suffix}{{{labels}}} {sample.value}" if labels else f"{family.name} {sample.value}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
