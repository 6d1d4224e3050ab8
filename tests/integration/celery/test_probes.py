"""What the probes of the kubelet learn of a Celery worker."""

import asyncio
import socket
from contextlib import suppress

import pytest
from aio_pika.abc import AbstractChannel

from tests.cluster.broker import Broker
from tests.integration.celery.conftest import StartCelery
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import EXCHANGE, FakeOperator

SILENCES = ("", "reads nothing", "asks for nothing")


async def test_a_worker_that_does_not_consume_although_it_could_is_unhealthy(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start_celery("-I", "taskqueue_drain.celery,short_patience", "--without-mingle")
    await operator.wait_for_report(state="consuming")
    await operator.done("drain")
    await operator.wait_for_report(state="drained")
    await operator.done("undrain")
    await operator.wait_for_report(state="consuming")
    assert worker.probe("/healthz") == 200, "a drained worker is healthy"
    await worker.command("control", "cancel_consumer", queue.name)
    await eventually("unhealthy", lambda: worker.probe("/healthz") == 503)
    assert worker.probe("/readyz") == 503


async def test_probes_are_answered_over_ipv6_and_beside_a_client_that_never_ends_its_request(
    start_celery: StartCelery, operator: FakeOperator
) -> None:
    worker = start_celery()
    await operator.wait_for_report(state="consuming")
    with socket.create_connection(("127.0.0.1", worker.port)) as client:
        probe = asyncio.ensure_future(asyncio.to_thread(worker.probe, "/healthz", "[::1]"))
        while not probe.done():
            with suppress(OSError):  # the worker has closed it
                client.send(b"G")
            await asyncio.sleep(0.1)
    assert await probe == 200


@pytest.mark.fault
async def test_a_worker_that_is_silent_after_a_restart_of_the_broker_is_unhealthy(
    start_celery: StartCelery, broker: Broker, channel: AbstractChannel
) -> None:
    await channel.declare_exchange(EXCHANGE, "direct", durable=True)
    adapter = ("-I", "taskqueue_drain.celery,short_patience,silent_after_reconnect", "--without-mingle")
    healthy, *silent = [start_celery(*adapter, SILENCE=silence) for silence in SILENCES]
    await eventually("ready", lambda: all(worker.is_ready for worker in (healthy, *silent)))
    broker.stop()
    broker.start()
    await eventually("unhealthy", lambda: all(worker.probe("/healthz") == 503 for worker in silent))
    await eventually("ready", lambda: healthy.is_ready)
    assert healthy.probe("/healthz") == 200
