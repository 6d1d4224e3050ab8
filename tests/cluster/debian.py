"""Small Debian systems in a directory: what images are made from where no registry can be reached."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.cluster import cache
from tests.cluster.prerequisites import need_packages, need_root, run
from tests.cluster.progress import working

RABBITMQ_SUITES: Final[Mapping[str, str]] = {"3.10": "bookworm", "4.0": "trixie", "4.3": "sid"}
"""For each version of RabbitMQ that tests use, the suite of Debian that has it."""
NEWEST_RABBITMQ: Final = "4.3"

# New mounts stay inside, and everything started ends, with this command: a killed debootstrap leaves no /proc behind.
_APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def python() -> Path:
    """A system with Python 3.13 as `python3`, standing in for docker.io/library/python:3.13-slim."""
    return _system("trixie", "python3", "python3-venv", "ca-certificates")


def rabbitmq(version: str = NEWEST_RABBITMQ) -> Path:
    """A system with this version of RabbitMQ as its `rabbitmq-server`."""
    return _system(RABBITMQ_SUITES[version], "rabbitmq-server", "ca-certificates")


def stores() -> Path:
    """A system with PostgreSQL and Redis."""
    return _system("trixie", "postgresql-17", "redis-server", "ca-certificates")


def _system(suite: str, *packages: str) -> Path:
    def make(directory: Path) -> None:
        need_root()
        need_packages("debootstrap")
        root = directory / "root"
        with working(f"installing Debian {suite} with {packages[0]} into a directory (about a minute, once)"):
            run(*_APART, "debootstrap", "--variant=minbase", f"--include={','.join(packages)}", suite, str(root))
        for archive in (root / "var/cache/apt/archives").glob("*.deb"):
            archive.unlink()
        shutil.rmtree(root / "var/lib/apt/lists")
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (root / "etc/resolv.conf").write_text("")

    return cache.entry(f"debian-{suite}-{packages[0]}", make) / "root"
