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
        """Good for clients on this machine."""

    @property
    def kubectl_command(self) -> Sequence[str]:
        """How to call kubectl."""
        return ("kubectl",)

    @property
    def helm_command(self) -> Sequence[str]:
        """How to call helm."""
        return ("helm",)

    @abstractmethod
    def check_prerequisites(self) -> None:
        """Find out what this machine lacks, before anything is written or installed.

        Raises:
            MissingError: The sentence that says what is missing, and how to get it.
        """

    @abstractmethod
    def up(self) -> None:
        """Make it, or mend it, or find it complete: then nothing happens."""

    @abstractmethod
    def down(self) -> None:
        """Remove it and all it left, whatever state it is in."""

    @abstractmethod
    def load(self, tag: str) -> None:
        """Make an image of `images.build` known to the nodes."""

    @abstractmethod
    def logs(self) -> str:
        """The last words of the cluster's own programs."""

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002 - as subprocess names it
        """What kubectl printed; RuntimeError with its complaint, unless `check` is off."""
        return kubectl([*self.kubectl_command, f"--kubeconfig={self.kubeconfig}", *arguments], text=input, check=check)

    @cached_property
    def api(self) -> ApiReader:
        """Reads objects, where a test asks again and again."""
        return ApiReader(self.kubeconfig, self.kubectl)

    def close(self) -> None:
        """Close what it is read by; the cluster stays as it is."""
        if "api" in vars(self):
            self.api.close()
            del self.api

    def helm(self, *arguments: str) -> str:
        """What helm printed; RuntimeError with its complaint."""
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
        """A port of the loopback that leads to `port` of `target` (`service/x`, `pod/x`) while inside."""
        argv = [*self.kubectl_command, f"--kubeconfig={self.kubeconfig}", f"--namespace={namespace}"]
        with PortForward(argv, target, port) as local:
            yield local

    def rabbitmq(self, namespace: str, *, username: str = "guest", password: str = "guest") -> str:  # noqa: S107 - what RabbitMQ itself defaults to
        """A broker in `namespace`, ready; the address that pods of the cluster use for it."""
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
        """What someone looking at a failed test asks first."""
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
