"""A dramatiq application that knows nothing of the adapter."""

import os
from typing import Any

import dramatiq
import ledger  # type: ignore[import-not-found]  # beside this file
from dramatiq.brokers.rabbitmq import RabbitmqBroker


class QuorumBroker(RabbitmqBroker):  # type: ignore[misc]  # dramatiq has no types
    """Declares Quorum queues."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


broker = (QuorumBroker if "QUORUM" in os.environ else RabbitmqBroker)(url=os.environ["RABBITMQ_URL"])
broker.parameters.client_properties = {"connection_name": os.environ["CONNECTION_NAME"]}
if "SETS_NO_BROKER" not in os.environ:
    dramatiq.set_broker(broker)


@dramatiq.actor(broker=broker, actor_name="work", queue_name=os.environ["QUEUE"], max_retries=0)  # type: ignore[untyped-decorator]  # dramatiq has no types
def work(n: int, gate: str | None = None, *, fails: bool = False) -> None:
    ledger.block(n, gate, fails=fails)
