"""What the user of the kit states."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from .rules import RULES
from .task_template import TaskTemplate

DEFAULT_PORT: Final = 5672
HEARTBEAT_SECONDS: Final = 10


class NotValidError(Exception):
    """A setting is not valid. The text says which, and the way out."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run of the kit.

    Attributes:
        command: The command of the worker.
        broker_url: AMQP URI of the broker.
        template: The message of a task.
        rules: Ids of the rules to test.
        queue_type: `quorum` or `classic`.
        task_seconds: How long the tasks take during which something happens.
        start_seconds: How long the worker may take from its start to its first report.
        wait_seconds: How long everything else may take that must happen at once.
    """

    command: Sequence[str]
    broker_url: str
    template: TaskTemplate = field(default_factory=TaskTemplate)
    rules: Sequence[str] = tuple(RULES)
    queue_type: str = "quorum"
    task_seconds: float = 2
    start_seconds: float = 30
    wait_seconds: float = 10

    def __post_init__(self) -> None:
        """Check.

        Raises:
            NotValidError: A setting is not valid.
        """
        if not self.command:
            raise NotValidError("no COMMAND: write it after --, for example `-- python worker.py`")
        if unknown := set(self.rules) - set(RULES):
            raise NotValidError(f"--rule {min(unknown)}: there is no such rule; there are {', '.join(RULES)}")
        if not self.host or not self.port or urlsplit(self.broker_url).scheme != "amqp":
            raise NotValidError(
                "--broker-url or RABBITMQ_URL must be amqp://user:password@host:port/vhost; not amqps, because the kit"
                " reads what passes between worker and broker"
            )

    @property
    def host(self) -> str:
        """The host of the broker."""
        return urlsplit(self.broker_url).hostname or ""

    @property
    def port(self) -> int:
        """The port of the broker.

        Raises:
            NotValidError: It is none.
        """
        try:
            return urlsplit(self.broker_url).port or DEFAULT_PORT
        except ValueError:
            raise NotValidError("the port of --broker-url or RABBITMQ_URL is not a port") from None

    @property
    def own_url(self) -> str:
        """The URI for the kit itself, which notices a silent broker by its heartbeats."""
        return urlunsplit(urlsplit(self.broker_url)._replace(query=f"heartbeat={HEARTBEAT_SECONDS}"))

    def url_through(self, port: int) -> str:
        """Return the URI of the broker behind a proxy."""
        parts = urlsplit(self.broker_url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{port}"))
