"""What a benchmark comes to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """Named figures, each with its unit at the end of its name, and of how many samples they are made."""

    figures: Mapping[str, float]
    samples: int

    def document(self, name: str, commit: str) -> dict[str, Any]:
        """Say it together with what a figure is worthless without: of which code, on how many cores."""
        figures = {figure: round(value, 4) for figure, value in self.figures.items()}
        return {
            "name": name,
            "figures": figures,
            "samples": self.samples,
            "commit": commit,
            "cores": os.cpu_count(),
        }
