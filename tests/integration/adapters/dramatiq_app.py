"""A dramatiq application that knows nothing of the adapter."""

import os

import dramatiq
import ledger  # type: ignore[import-not-found]  # beside this file
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"])
broker.parameters.client_properties = {"connection_name": os.environ["CONNECTION_NAME"]}
if "SETS_NO_BROKER" not in os.environ:
    dramatiq.set_broker(broker)


@dramatiq.actor(broker=broker, actor_name="work", queue_name=os.environ["QUEUE"], max_retries=0)  # type: ignore[untyped-decorator]  # dramatiq has no types
def work(n: int, gate: str | None = None, *, fails: bool = False) -> None:
    ledger.block(n, gate, fails=fails)
