"""What the workers of a tenant run, and the message that requests a task: `taskqueue_worker`, or Celery."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from tests.cluster import images

Body = dict[str, Any]
NAME: Final = "work"
"""Name of each TaskQueue, of its exchange, and of its queue unless Celery has another one."""
OPERATOR_SECRET: Final = "rabbitmq"

MODULES_CONFIGMAP: Final = "tasks"
MODULES_VOLUME: Final[Body] = {"name": "tasks", "configMap": {"name": MODULES_CONFIGMAP}}
MODULES: Final = ("audited.py", "gate.py", "receipt.py")
"""The modules beside those of the image."""
MODULE_MOUNTS: Final[list[Body]] = [
    {"name": "tasks", "mountPath": f"/app/{module}", "subPath": module} for module in MODULES
]
HERE: Final = Path(__file__).parent


class TaskMessage(NamedTuple):
    """The content of a message that requests one task."""

    payload: object
    headers: Mapping[str, Any]


class MessageFormat(Protocol):
    """Builds the message for the task `identity`, which runs for `seconds` and then until the gate is open."""

    def __call__(self, identity: str, seconds: float, gate: str | None = None) -> TaskMessage:
        """Return the message; `gate` is a URL for `tests.e2e.gate`."""
        ...


@dataclass(frozen=True)
class Application:
    """An image, and a module `audited` for it whose tasks publish receipts.

    Attributes:
        image: One of the images built here.
        module: The file that is mounted as `audited.py`.
        command: Starts a worker.
        env: Variables that a TaskQueue does not set; `rabbitmq` is the Secret with the URI of the broker.
        plain: The worker does not implement the contract: neither reports nor probes.
        adapted: It implements the contract by an adapter of `taskqueue_drain`.
        message: Builds the message for one task.
        queue: What the workers consume.
        further_queues: What they consume beside it.
        secret: The Secret with the credentials of the workers; `rabbitmq` is also that of the operator.
    """

    image: images.Name
    module: Path
    command: tuple[str, ...]
    env: tuple[Body, ...]
    plain: bool
    message: MessageFormat
    queue: str
    further_queues: tuple[str, ...] = ()
    secret: str = OPERATOR_SECRET
    adapted: bool = False

    @property
    def queues(self) -> tuple[str, ...]:
        """All that the workers consume."""
        return (self.queue, *self.further_queues)

    @property
    def modules(self) -> dict[str, str]:
        """The text of each mounted module, by file name."""
        files = {module: HERE / module for module in MODULES} | {"audited.py": self.module}
        return {name: file.read_text() for name, file in files.items()}

    @property
    def declares(self) -> bool:
        """Whether the runtime declares objects of its own at the broker."""
        return self.plain or self.adapted

    @property
    def worker(self) -> Body:
        """The fields of `spec.worker` for this application, besides the image."""
        if not self.declares:
            return {}
        protocol: Body = {"protocol": "Plain", "acksLate": True} if self.plain else {}
        return {**protocol, "command": [*self.command], "env": [*self.env]}


def celery(queue: str, *, declared: bool, credentials: str = OPERATOR_SECRET) -> Application:
    """Return the Celery sample on one queue, which the operator has `declared`, or else Celery declares.

    The worker reads the `uri` of the Secret `credentials` once, when its pod starts.
    """
    uri = from_secret("CELERY_BROKER_URL", credentials)
    env = (uri, {"name": "DECLARED", "value": queue}) if declared else (uri,)
    command = ("celery", "-A", "audited", "worker", "-Q", queue)
    return Application(
        "celery",
        HERE / "audited_celery.py",
        command,
        env,
        plain=True,
        message=celery_message,
        queue=queue,
        secret=credentials,
    )


def from_secret(variable: str, secret: str = OPERATOR_SECRET) -> Body:
    """Return a variable with the URI of a Secret."""
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": "uri"}}}


def _taskqueue_message(identity: str, seconds: float, gate: str | None = None) -> TaskMessage:
    del identity  # it is a property of the message
    return TaskMessage({"seconds": seconds, "gate": gate}, {})


def celery_message(identity: str, seconds: float, gate: str | None = None) -> TaskMessage:
    """Version 2 of Celery's message protocol."""
    options = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return TaskMessage([[seconds, gate], {}, options], {"lang": "py", "task": "audited", "id": identity})


TASKQUEUE_WORKER: Final = Application(
    "sample",
    HERE / "audited.py",
    ("python", "-m", "taskqueue_worker"),
    (from_secret("RABBITMQ_URL"), {"name": "TASKQUEUE_MODULES", "value": "audited"}),
    plain=False,
    message=_taskqueue_message,
    queue=NAME,
)
