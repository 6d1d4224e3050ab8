"""What a team's workers run, and how a task is written for them: `taskqueue_worker`, or Celery."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.cluster import images

Body = dict[str, Any]


class Written(NamedTuple):
    """What a message holds that asks for one task."""

    payload: object
    headers: Mapping[str, Any]


@dataclass(frozen=True)
class Application:
    """An image, and in its folder of modules one called `audited`, whose tasks leave receipts.

    Attributes:
        image: One of those built here.
        module: The file that becomes `audited.py`, beside this one.
        command: What a worker is started by.
        env: What it has to be told outside of a TaskQueue; `rabbitmq` is the Secret with the URI of its broker.
        plain: Whether it keeps nothing of the contract: neither reports nor answers probes.
        write: Asks for a task by the identity that its receipts are to name, and the seconds it is to take.
    """

    image: images.Name
    module: str
    command: tuple[str, ...]
    env: tuple[Body, ...]
    plain: bool
    write: Callable[[str, float], Written]

    @property
    def source(self) -> str:
        """The text of the module."""
        return (Path(__file__).parent / self.module).read_text()

    @property
    def worker(self) -> Body:
        """What a TaskQueue has to say of it, besides the image."""
        if not self.plain:
            return {}
        return {"protocol": "Plain", "acksLate": True, "command": [*self.command], "env": [*self.env]}


def celery(queue: str, *, declared: bool, credentials: str = "rabbitmq") -> Application:
    """The sample of Celery on one queue, which either the operator has `declared` or Celery does itself.

    Its credentials are the `uri` of a Secret, and those of the moment at which a pod starts.
    """
    uri = _secret("CELERY_BROKER_URL", credentials)
    env = (uri, {"name": "DECLARED", "value": queue}) if declared else (uri,)
    command = ("celery", "-A", "audited", "worker", "-Q", queue)
    return Application("celery", "audited_celery.py", command, env, plain=True, write=_for_celery)


def _secret(variable: str, name: str) -> Body:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": "uri"}}}


def _for_us(identity: str, seconds: float) -> Written:
    del identity  # the message has one
    return Written({"seconds": seconds}, {})


def _for_celery(identity: str, seconds: float) -> Written:
    """By the second version of Celery's protocol."""
    options = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return Written([[seconds], {}, options], {"lang": "py", "task": "audited", "id": identity})


OURS: Final = Application(
    "sample",
    "audited.py",
    ("python", "-m", "taskqueue_worker"),
    (_secret("RABBITMQ_URL", "rabbitmq"), {"name": "TASKQUEUE_MODULES", "value": "audited"}),
    plain=False,
    write=_for_us,
)
