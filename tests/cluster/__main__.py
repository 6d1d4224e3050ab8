"""`python -m tests.cluster`: the cluster by hand."""

import argparse
import os
import subprocess
import sys

from tests.cluster import cluster, images
from tests.cluster.prerequisites import MissingError
from tests.cluster.progress import step
from tests.cluster.provider import Cluster

RABBITMQ_NAMESPACE = "rabbitmq"


def main(arguments: list[str]) -> int:
    """Do one thing; 1 and a sentence when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "images", "status", "logs", "kubectl", "helm"])
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="for kubectl and helm: their arguments")
    asked = parser.parse_args(arguments)
    try:
        return _act(cluster(), asked.action, asked.rest)
    except (MissingError, RuntimeError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1


def _act(target: Cluster, action: str, rest: list[str]) -> int:
    match action:
        case "up":
            target.up()
            target.rabbitmq(RABBITMQ_NAMESPACE)
            print(f"export KUBECONFIG={target.kubeconfig}")
        case "down":
            target.down()
        case "images":
            for name in images.NAMES:
                step(f"{images.build(name)} built, {images.size_mb(name)} MB")
        case _:
            return _ask(target, action, rest)
    return 0


def _ask(target: Cluster, action: str, rest: list[str]) -> int:
    if not target.kubeconfig.exists():
        raise MissingError(f"{target.kubeconfig} is not there: first run `make cluster-up CLUSTER={target.provider}`")
    if action == "logs":
        print(target.logs())
        return 0
    command = target.helm_command if action == "helm" else target.kubectl_command
    arguments = ["get", "nodes,pods", "--all-namespaces"] if action == "status" else rest
    env = {**os.environ, "KUBECONFIG": str(target.kubeconfig)}
    return subprocess.run([*command, *arguments], env=env, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
