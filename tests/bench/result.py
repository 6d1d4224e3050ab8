"""What a benchmark comes to."""

import operator
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from typing_extensions import override

_COMPARISONS = {"<=": operator.le, ">=": operator.ge}


class Target(NamedTuple):
    """What a figure should come to. It is printed beside the figure, and nothing fails when it is missed."""

    comparison: Literal["<=", ">="]
    bound: float

    @override
    def __str__(self) -> str:
        return f"{self.comparison} {self.bound:g}"

    def met(self, figure: float) -> bool:
        """Whether the figure is on the right side."""
        return bool(_COMPARISONS[self.comparison](figure, self.bound))


@dataclass(frozen=True)
class Result:
    """Named figures, each with its unit at the end of its name; how many samples they are made of; their targets."""

    figures: Mapping[str, float]
    samples: int
    targets: Mapping[str, Target] = field(default_factory=dict)

    def document(self, name: str, commit: str) -> dict[str, Any]:
        """Say it together with what a figure is worthless without: of which code, on how many cores, how busy."""
        return {
            "name": name,
            "figures": {figure: round(value, 4) for figure, value in self.figures.items()},
            "targets": {figure: str(target) for figure, target in self.targets.items()},
            "met": {figure: target.met(self.figures[figure]) for figure, target in self.targets.items()},
            "samples": self.samples,
            "commit": commit,
            "cores": os.cpu_count(),
            "load": [round(load, 2) for load in os.getloadavg()],
        }


def spread(seconds: Sequence[float], prefix: str = "") -> dict[str, float]:
    """Sum up samples of a duration: the middle, what one in a hundred exceeds, and both ends."""
    quantiles = statistics.quantiles(seconds, n=100, method="inclusive")
    figures = {"p50_s": quantiles[49], "p99_s": quantiles[98], "min_s": min(seconds), "max_s": max(seconds)}
    return {prefix + figure: value for figure, value in figures.items()}
