"""A cluster as its users know it, independent of its provider."""

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from tests.cluster import images
from tests.cluster.api_reader import ApiReader
from tests.cluster.control_plane import kubectl
from tests.cluster.forwarding import PortForward
from tests.cluster.progress import step

_RABBITMQ = Path(__file__).parent / "rabbitmq.yaml"


class Cluster(ABC):
    """A Kubernetes cluster to run things on. Providers differ in how it is made and how an image gets in."""

    provider: str

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """The kubeconfig for clients on this machine."""

    @property
    def kubectl_command(self) -> Sequence[str]:
        """The command of kubectl."""
        return ("kubectl",)

    @property
    def helm_command(self) -> Sequence[str]:
        """The command of helm."""
        return ("helm",)

    @abstractmethod
    def check_prerequisites(self) -> None:
        """Check the prerequisites of this machine, before anything is written or installed.

        Raises:
            MissingError: A prerequisite is missing; the message says how to install it.
        """

    @abstractmethod
    def up(self) -> None:
        """Create or repair the cluster; a complete cluster stays as it is."""

    @abstractmethod
    def down(self) -> None:
        """Remove the cluster and everything it left, in any state."""

    @abstractmethod
    def load(self, tag: str) -> None:
        """Load an image of `images.build` into the nodes."""

    @abstractmethod
    def logs(self) -> str:
        """Return the last log lines of the cluster's own programs."""

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002 - as subprocess names it
        """Return the output of kubectl; with `check`, a failure is a RuntimeError with the error output."""
        return kubectl([*self.kubectl_command, f"--kubeconfig={self.kubeconfig}", *arguments], text=input, check=check)

    @cached_property
    def api(self) -> ApiReader:
        """Reads objects; faster than kubectl for tests that poll."""
        return ApiReader(self.kubeconfig, self.kubectl)

    def close(self) -> None:
        """Close the connection to the API server; the cluster stays as it is."""
        if "api" in vars(self):
            self.api.close()
            del self.api

    def helm(self, *arguments: str) -> str:
        """Return the output of helm; a failure is a RuntimeError with the error output."""
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [*self.helm_command, *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if done.returncode:
            raise RuntimeError(f"helm {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def port_forward(self, namespace: str, target: str, port: int) -> Iterator[int]:
        """Forward a port of the loopback to `port` of `target` (`service/x`, `pod/x`) within the context."""
        argv = [*self.kubectl_command, f"--kubeconfig={self.kubeconfig}", f"--namespace={namespace}"]
        with PortForward(argv, target, port) as local:
            yield local

    def rabbitmq(self, namespace: str, *, username: str = "guest", password: str = "guest") -> str:  # noqa: S107 - what RabbitMQ itself defaults to
        """Start a broker in `namespace` and wait until it is ready; returns its AMQP URI for pods of the cluster."""
        tag = images.build("rabbitmq")
        self.load(tag)
        if not self.kubectl("get", "namespace", namespace, "--ignore-not-found"):
            self.kubectl("create", "namespace", namespace)
        manifest = _RABBITMQ.read_text()
        for name, value in {"IMAGE": tag, "USERNAME": username, "PASSWORD": password}.items():
            manifest = manifest.replace(f"${name}", value)
        self.kubectl("apply", f"--namespace={namespace}", "--filename=-", input=manifest)
        self.kubectl("rollout", "status", "statefulset/rabbitmq", f"--namespace={namespace}", "--timeout=300s")
        step(f"RabbitMQ ready in namespace {namespace}")
        return f"amqp://{username}:{password}@rabbitmq.{namespace}:5672/"

    def diagnosis(self) -> str:
        """Return the state of the cluster that explains most failed tests."""
        questions = (
            ("get", "nodes,pods,deployments", "--all-namespaces", "--output=wide"),
            ("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"),
        )
        answers = [_ask(self, *question) for question in questions]
        return "\n\n".join([*answers, self.logs()])


def _ask(cluster: Cluster, *question: str) -> str:
    try:
        lines = cluster.kubectl(*question, "--request-timeout=10s").splitlines()
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        lines = [str(error)]
    return f"--- kubectl {' '.join(question)}\n" + "\n".join(lines[-60:])
