"""Prerequisites of this machine; the error for a missing one says in one sentence how to install it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable

from tests.cluster.progress import working

_PACKAGES = {
    "debootstrap": "debootstrap",
    "buildah": "buildah",
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "gcc": "gcc",
    "pkg-config": "pkg-config",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/usr/include/seccomp.h": "libseccomp-dev",
}


class MissingError(Exception):
    """The machine lacks something; the message says what, and what to do about it."""


def run(*argv: str, cwd: str | os.PathLike[str] | None = None, env: dict[str, str] | None = None) -> str:
    """Run to the end without stdin; the output, or an error that carries what the program said."""
    done = subprocess.run(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
        raise RuntimeError(f"{' '.join(argv[:4])} ... exited with {done.returncode}:\n{said}")
    return done.stdout


def need_root() -> None:
    """Namespaces, mounts and chroot are root's."""
    if os.geteuid():
        raise MissingError(
            "this needs root, for namespaces and mounts: use sudo, or start Docker or podman and use CLUSTER=kind"
        )


def need_go(minimum: tuple[int, int] = (1, 26)) -> None:
    """Kubernetes is compiled here."""
    wanted = ".".join(map(str, minimum))
    if not shutil.which("go"):
        raise MissingError(f"this builds Kubernetes and needs Go {wanted} or newer: install it from https://go.dev/dl")
    found = re.match(r"go(\d+)\.(\d+)", run("go", "env", "GOVERSION"))
    if not found or (int(found[1]), int(found[2])) < minimum:
        raise MissingError(
            f"Go {wanted} or newer is needed, not {found and found[0]}: install it from https://go.dev/dl"
        )


def need_packages(*programs: str) -> None:
    """Install the Debian packages of these programs where they are not there yet; of all known ones by default."""
    from tests.cluster import cache  # which needs this module

    if not _missing(programs):
        return
    with cache.locked("packages"):  # apt-get does not wait for another apt-get
        _install(_missing(programs))


def _missing(programs: Iterable[str]) -> list[str]:
    return [_PACKAGES[name] for name in programs or _PACKAGES if not _present(name)]


def _install(missing: list[str]) -> None:
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise MissingError(f"install {', '.join(missing)} (the names are Debian's) with this system's package manager")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with working(f"installing {' '.join(missing)}"):
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=quiet)


def _present(name: str) -> bool:
    return os.path.exists(name) if name.startswith("/") else bool(shutil.which(name))  # noqa: PTH110 - a plain question
