"""A publisher that goes on whatever happens to the queues behind its exchange."""

import asyncio
import json
import threading
import time
from types import TracebackType
from typing import Final, Self

import aio_pika

PER_TURN_SECONDS: Final = 0.02


class SteadyPublisher:
    """Publishes tasks with confirms and `mandatory`, in a thread of its own, from `start` to `stop`.

    Attributes:
        confirmed: Numbers of the tasks that the broker has confirmed.
        times: When, by the clock of `time.monotonic`.
        failures: What publishing raised: a message was returned or refused, or the connection broke.
    """

    def __init__(self, url: str, exchange: str, *, type_: str = "work", per_second: float) -> None:
        """Publish with the name of the exchange as routing key."""
        self._url = url
        self._exchange = exchange
        self._type = type_
        self._per_second = per_second
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._publish()), daemon=True)
        self._number = 0
        self.confirmed: list[int] = []
        self.times: list[float] = []
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        """Start to publish."""
        self._thread.start()
        return self

    def __exit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait for the last confirm."""
        self._stopped.set()
        self._thread.join()

    async def _publish(self) -> None:
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel(on_return_raises=True)
            exchange = await channel.get_exchange(self._exchange, ensure=False)
            started = time.monotonic()
            async with asyncio.TaskGroup() as group:
                while not self._stopped.is_set():
                    due = int((time.monotonic() - started) * self._per_second)
                    for number in range(self._number, due):
                        group.create_task(self._publish_one(exchange, number))
                    self._number = due
                    await asyncio.sleep(PER_TURN_SECONDS)

    async def _publish_one(self, exchange: aio_pika.abc.AbstractExchange, number: int) -> None:
        message = aio_pika.Message(
            json.dumps({"n": number}).encode(),
            type=self._type,
            message_id=f"id-{number}",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            await exchange.publish(message, self._exchange)
        except Exception as error:  # noqa: BLE001  the test shows it
            self.failures.append(repr(error))
            return
        self.confirmed.append(number)
        self.times.append(time.monotonic())
