"""Packages of PyPI for processes that run beside those of the tests, each set in a folder of its own."""

import subprocess
import sys
from pathlib import Path

from tests.cluster import cache


def installed(requirements: Path) -> Path:
    """Return a folder with exactly these packages: a file of pinned versions with hashes. It is kept in the cache."""
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--python", sys.executable]

    def install(place: Path) -> None:
        pinned = ["--require-hashes", "--requirement", str(requirements)]
        subprocess.run([*uv, "--target", str(place), *pinned], check=True)

    return cache.entry(f"{requirements.stem}-{cache.digest([requirements.read_bytes()])}", install)
