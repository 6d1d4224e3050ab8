"""What the environment says. Names and meaning: docs/worker-contract.md."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .broker import BindingDirectory, BrokerSource, BrokerUri

CONTRACT = "1"
CONSUMER_TIMEOUT_MARGIN_SECONDS = 60


class SettingsError(Exception):
    """A setting is missing or wrong. The text is one sentence for the user, and holds no secret."""


@dataclass(frozen=True)
class Settings:
    """How this worker works. Times in seconds."""

    name: str
    broker: BrokerSource
    queues: tuple[str, ...]
    concurrency: int
    prefetch: int
    """Per queue: the broker hands out this many messages of each before one is settled."""
    task_timeout_seconds: int
    modules: tuple[str, ...]
    http_port: int
    pod: str = ""
    """UID of the pod; empty outside of Kubernetes."""

    @property
    def consumer_timeout_ms(self) -> int:
        """How long the broker must wait for a message: all that came before it may run to its timeout first."""
        prefetched = math.ceil(self.prefetch * len(self.queues) / self.concurrency)
        # After a drain that was undone, what ran all the while runs beside what a new consumer hoards.
        rounds = prefetched + 1
        return (self.task_timeout_seconds * rounds + CONSUMER_TIMEOUT_MARGIN_SECONDS) * 1000

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and check everything a worker needs.

        Raises:
            SettingsError: naming the variable and the way out.
        """
        _check_contract(environment)
        queues = _names(environment, "TASKQUEUE_QUEUES", default="")
        if not queues:
            raise SettingsError(
                "TASKQUEUE_QUEUES is not set. Name the queues to consume, e.g. TASKQUEUE_QUEUES=thumbnails."
            )
        concurrency = _number(environment, "TASKQUEUE_CONCURRENCY", default=1, least=1, most=1000)
        return cls(
            name=environment.get("TASKQUEUE_NAME") or "local/worker",
            broker=broker_source(environment),
            queues=queues,
            concurrency=concurrency,
            # The broker keeps the count in 16 bits.
            prefetch=_number(environment, "TASKQUEUE_PREFETCH", default=concurrency, least=1, most=65_535),
            task_timeout_seconds=_number(
                environment, "TASKQUEUE_TASK_TIMEOUT_SECONDS", default=870, least=1, most=7 * 24 * 3600
            ),
            modules=_names(environment, "TASKQUEUE_MODULES", default="tasks"),
            http_port=_number(environment, "TASKQUEUE_HTTP_PORT", default=8080, least=0, most=65_535),
            pod=environment.get("TASKQUEUE_POD_UID", ""),
        )


def broker_source(environment: Mapping[str, str]) -> BrokerSource:
    """Where to read the broker's address and credentials, at each connect.

    Raises:
        SettingsError: neither a binding nor RABBITMQ_URL is there.
    """
    vhost = environment.get("TASKQUEUE_VHOST") or None
    root = environment.get("SERVICE_BINDING_ROOT")
    if root and (directory := Path(root) / "broker").is_dir():
        return BindingDirectory(directory, vhost)
    if uri := environment.get("RABBITMQ_URL"):
        return BrokerUri(uri, vhost)
    bound = f"{root}/broker (SERVICE_BINDING_ROOT) is no directory" if root else "SERVICE_BINDING_ROOT is not set"
    raise SettingsError(
        f"No broker to connect to: {bound}, and RABBITMQ_URL is not set. Mount the broker's Secret at "
        "$SERVICE_BINDING_ROOT/broker, or set RABBITMQ_URL=amqp://USER:PASSWORD@HOST/VHOST."
    )


def _check_contract(environment: Mapping[str, str]) -> None:
    contract = environment.get("TASKQUEUE_CONTRACT", CONTRACT)
    if contract != CONTRACT:
        raise SettingsError(
            f"TASKQUEUE_CONTRACT is {contract!r}, this worker speaks contract {CONTRACT}. "
            f"Build the image from a taskqueue_worker that speaks contract {contract}."
        )


def _names(environment: Mapping[str, str], variable: str, *, default: str) -> tuple[str, ...]:
    names = (name.strip() for name in (environment.get(variable) or default).split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def _number(environment: Mapping[str, str], variable: str, *, default: int, least: int, most: int) -> int:
    text = environment.get(variable) or str(default)
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise SettingsError(
            f"{variable} is {text!r}: set a whole number from {least} to {most}, or leave it out for {default}."
        )
    return number
