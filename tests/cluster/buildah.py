"""Building images as root without a daemon; its storage is in the cache, its mounts are its own."""

import os
import re
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

from tests.cluster import cache
from tests.cluster.prerequisites import need_packages, need_root, run

_HANDED_ON = {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"}
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def build(tag: str, context: Path, arguments: Mapping[str, str]) -> None:
    """Build `context`'s Dockerfile; what pip on this machine knows of its network holds inside as well."""
    flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    with NamedTemporaryFile("w", suffix=".conf") as pip:
        pip.write(_pip_configuration())
        pip.flush()
        Path(pip.name).chmod(0o644)
        volumes = [f"--volume={pip.name}:/etc/pip.conf:ro"]
        if authorities := _authorities():
            volumes.append(f"--volume={authorities}:{_CERTIFICATES}:ro")
        if _is_bare(context):
            volumes = []
        # It makes the folder of its network configuration, which would be /etc/cni, whether it needs one or not.
        network = f"--cni-config-dir={cache.home() / 'buildah/network'}"
        _buildah("bud", "--layers", "--isolation=chroot", network, f"--tag={tag}", *volumes, *flags, str(context))


def save(tag: str, file: Path) -> None:
    """Write the image to a tar file that containerd can read."""
    _buildah("push", tag, f"docker-archive:{file}:{tag}")


def have(tag: str, file: Path) -> None:
    """Take the image from its tar file unless it is there, for others to build on."""
    try:
        _buildah("inspect", "--type=image", tag)
    except RuntimeError:
        _buildah("pull", f"docker-archive:{file}")


def _buildah(*arguments: str) -> None:
    need_root()
    need_packages("buildah")
    storage = cache.home() / "buildah"
    # Its overlay mounts stay in this namespace, so that a killed build leaves none on the machine.
    command = ["unshare", "--mount", "--", "buildah", f"--root={storage / 'root'}", f"--runroot={storage / 'run'}"]
    run(*command, *arguments)


def _is_bare(context: Path) -> bool:
    # An image without a system has nowhere to mount anything, and no pip.
    return (context / "Dockerfile").read_text().startswith("FROM scratch")


def _authorities() -> str | None:
    found = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or _CERTIFICATES
    return found if Path(found).exists() else None


def _pip_configuration() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    known = dict(re.findall(r"^[^=]*?\.([a-z-]+)='(.*)'$", done.stdout, flags=re.MULTILINE))
    lines = [f"{name} = {value}" for name, value in known.items() if name in _HANDED_ON]
    return "\n".join(["[global]", f"cert = {_CERTIFICATES}", *lines]) + "\n"
