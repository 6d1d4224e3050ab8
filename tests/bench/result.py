"""What a benchmark comes to."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """Named figures, each with its unit at the end of its name, and of how many samples they are made."""

    figures: Mapping[str, float]
    samples: int

    def document(self, name: str) -> dict[str, Any]:
        """Say it together with what a figure is worthless without: of which code, on how many cores."""
        figures = {figure: round(value, 4) for figure, value in self.figures.items()}
        return {
            "name": name,
            "figures": figures,
            "samples": self.samples,
            "commit": _commit(),
            "cores": os.cpu_count(),
        }


def _commit() -> str:
    """Name the commit of the checkout, with `-dirty` when that is not quite what runs."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(describe, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() or "unknown"
