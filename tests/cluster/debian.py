"""Small Debian systems in a directory: what images are made from where no registry can be reached."""

import shutil
from pathlib import Path

from tests.cluster import cache
from tests.cluster.prerequisites import need_packages, need_root, run
from tests.cluster.progress import working

# New mounts stay inside, and everything started ends, with this command: a killed debootstrap leaves no /proc behind.
_APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def python() -> Path:
    """A system with Python 3.13 as `python3`, standing in for docker.io/library/python:3.13-slim."""
    return _system("trixie", "python3", "python3-venv", "ca-certificates")


def rabbitmq() -> Path:
    """A system with the newest RabbitMQ of Debian (4.3) as its `rabbitmq-server`."""
    return _system("sid", "rabbitmq-server", "ca-certificates")


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
