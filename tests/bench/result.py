"""The result of a benchmark."""

import operator
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from typing_extensions import override

_COMPARISONS = {"<=": operator.le, ">=": operator.ge}


class Target(NamedTuple):
    """The target of a figure. It is printed beside the figure; a missed target fails nothing."""

    comparison: Literal["<=", ">="]
    bound: float

    @override
    def __str__(self) -> str:
        return f"{self.comparison} {self.bound:g}"

    def met(self, figure: float) -> bool:
        """Return whether the figure meets the target."""
        return bool(_COMPARISONS[self.comparison](figure, self.bound))


@dataclass(frozen=True)
class Result:
    """Figures by name (the name ends with the unit), the number of samples behind them, and their targets."""

    figures: Mapping[str, float]
    samples: int
    targets: Mapping[str, Target] = field(default_factory=dict)

    def document(self, name: str, commit: str) -> dict[str, Any]:
        """Return the result as JSON, with the commit, the cores and the load, without which figures mean nothing."""
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
    """Summarize samples of a duration: median, 99th percentile, minimum and maximum."""
    quantiles = statistics.quantiles(seconds, n=100, method="inclusive")
    figures = {"p50_s": quantiles[49], "p99_s": quantiles[98], "min_s": min(seconds), "max_s": max(seconds)}
    return {prefix + figure: value for figure, value in figures.items()}
