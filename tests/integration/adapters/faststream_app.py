"""A FastStream application that knows nothing of the adapter."""

import os

import ledger  # type: ignore[import-not-found]  # beside this file
from faststream import FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

broker = RabbitBroker(
    f"{os.environ['RABBITMQ_URL']}?name={os.environ.get('CONNECTION_NAME', 'faststream')}",
    default_channel=Channel(prefetch_count=int(os.environ.get("PREFETCH", "1"))),
)
app = FastStream(broker)


@broker.subscriber(RabbitQueue(os.environ["QUEUE"], declare=False))  # type: ignore[untyped-decorator]  # installed for the tests only
async def work(n: int, gate: str | None = None, *, fails: bool = False) -> None:
    await ledger.work(n, gate, fails=fails)


if further := os.environ.get("FURTHER_QUEUE"):
    broker.subscriber(RabbitQueue(further, declare=False))(work)


@app.after_startup  # type: ignore[untyped-decorator]  # see above
async def restart() -> None:
    if os.environ.get("RESTARTS"):
        await broker.stop()
        await broker.start()
