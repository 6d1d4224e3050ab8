"""Chooses the provider of the cluster: the one that `CLUSTER` names, or one that this machine supports."""

import os
import shutil
import subprocess
from typing import Literal, get_args

from tests.cluster.prerequisites import MissingError

Provider = Literal["local", "kind", "existing"]


def engine() -> str | None:
    """Return Docker or podman, if it is installed and answers: a client without its daemon is of no use."""
    for name in ("docker", "podman"):
        if shutil.which(name):
            done = subprocess.run(
                [name, "info"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60
            )
            if done.returncode == 0:
                return name
    return None


def need_engine() -> str:
    """Return the engine; the error says how to get one."""
    found = engine()
    if not found:
        raise MissingError(
            "Docker or podman is needed and neither answers: start it, install it"
            " (https://docs.docker.com/engine/install), or use CLUSTER=local, which needs root and Go instead"
        )
    return found


def provider() -> Provider:
    """Return the provider for `CLUSTER`; with `auto`, kind if a container engine answers, else local."""
    asked = os.environ.get("CLUSTER") or "auto"
    if asked == "auto":
        return "kind" if engine() else "local"
    for name in get_args(Provider):
        if asked == name:
            return name  # type: ignore[no-any-return]  # get_args() forgets what it lists
    raise MissingError(f"CLUSTER={asked} is not known: use auto, {', '.join(get_args(Provider))}")
