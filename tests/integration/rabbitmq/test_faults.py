import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import httpx
import pytest
from aiormq.abc import AbstractConnection

from taskqueue_operator.rabbitmq.vhost import Vhost
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.topology.diff import Declare
from taskqueue_operator.topology.objects import Queue
from tests.cluster.broker import Broker
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, probed

Call = Callable[[Vhost], Awaitable[object]]
CALLS: list[Call] = [lambda each: each.probe(["jobs"]), lambda each: each.sweep(), lambda each: each.topology()]
AGAIN = "Correct the Secret; it is read again within a minute."


async def fault(call: Call, rabbitmq: Vhost) -> BrokerFault:
    with pytest.raises(BrokerFault) as raised:
        await call(rabbitmq)
    return raised.value


async def test_a_wrong_password(connect: Connect, broker: Broker) -> None:
    rabbitmq = connect(password="hunter2")

    probe, sweep, topology = [await fault(call, rabbitmq) for call in CALLS]

    assert {probe.reason, sweep.reason, topology.reason} == {Reason.AUTHENTICATION_FAILED}
    assert probe.message == (
        f'RabbitMQ at 127.0.0.1:{broker.amqp_port} refuses user "guest": wrong username or password. {AGAIN}'
    )
    assert (
        sweep.message
        == topology.message
        == (f'Management API {broker.management_url} refuses user "guest": wrong username or password. {AGAIN}')
    )


@pytest.mark.parametrize("call", CALLS)
async def test_a_vhost_that_does_not_exist(connect: Connect, broker: Broker, call: Call) -> None:
    trouble = await fault(call, connect(vhost="no such"))

    assert trouble.reason is Reason.VHOST_NOT_FOUND
    assert trouble.message == (
        f'RabbitMQ at 127.0.0.1:{broker.amqp_port} has no vhost "no such". Set spec.broker.vhost, '
        "correct the path of the Secret's uri, or create it: rabbitmqctl add_vhost 'no such'"
    )


@pytest.mark.parametrize("call", CALLS)
async def test_a_vhost_without_permissions(connect: Connect, user: MakeUser, broker: Broker, call: Call) -> None:
    name = user("management")

    trouble = await fault(call, connect(username=name, password=PASSWORD, vhost="/"))

    assert trouble.reason is Reason.PERMISSION_DENIED
    assert trouble.message == (
        f'User "{name}" may not use vhost "/" of RabbitMQ at 127.0.0.1:{broker.amqp_port}. '
        f"Grant it: rabbitmqctl set_permissions -p / {name} '.*' '.*' '.*'"
    )


async def test_a_vhost_that_is_full(connect: Connect, admin: httpx.Client, vhost: str, broker: Broker) -> None:
    path = f"/vhost-limits/{quote(vhost, safe='')}/max-connections"
    (await asyncio.to_thread(admin.put, path, json={"value": 0})).raise_for_status()

    trouble = await fault(CALLS[0], connect())

    assert trouble.reason is Reason.VHOST_NOT_FOUND
    assert trouble.message.startswith(
        f'RabbitMQ at 127.0.0.1:{broker.amqp_port} refuses vhost "{vhost}" to user "guest": '
    )
    assert "limit" in trouble.message, "the broker's own words"


async def test_a_vhost_is_told_apart_without_the_management_api(connect: Connect, user: MakeUser) -> None:
    nowhere = {"management_uri": "http://127.0.0.1:1"}
    name = user("")

    missing = await fault(CALLS[0], connect(vhost="missing", **nowhere))
    forbidden = await fault(CALLS[0], connect(vhost="/", username=name, password=PASSWORD, **nowhere))

    assert (missing.reason, forbidden.reason) == (Reason.VHOST_NOT_FOUND, Reason.PERMISSION_DENIED)


async def test_a_user_without_tag(connect: Connect, user: MakeUser) -> None:
    name = user("")

    trouble = await fault(CALLS[1], connect(username=name, password=PASSWORD))

    assert trouble.reason is Reason.PERMISSION_DENIED
    assert trouble.message.endswith(
        f"it lacks the tag management. Grant it: rabbitmqctl set_user_tags {name} management"
    )


async def test_a_queue_that_the_user_may_not_even_look_at(
    connect: Connect, user: MakeUser, amqp: AbstractConnection
) -> None:
    channel = await amqp.channel()
    for queue in ("jobs", "mine"):
        await channel.queue_declare(queue, durable=True)
    rabbitmq = connect(username=user("management", configure="^mine$", write="^$", read="^$"), password=PASSWORD)

    refused, mine = await probed(rabbitmq, "jobs"), await probed(rabbitmq, "mine")

    assert refused.fault is not None
    assert refused.fault.reason is Reason.PERMISSION_DENIED
    assert 'may not read the depth of queue "jobs"' in refused.fault.message
    assert refused.fault.message.endswith("'.*' '.*' '.*'"), "the command that grants it"
    assert (refused.ready, mine.ready, mine.fault) == (None, 0, None)


@pytest.mark.parametrize(
    ("host", "port", "why"),
    [("127.0.0.1", "1", "connection refused"), ("nowhere.invalid", "5672", "host name not found")],
)
async def test_a_broker_that_is_not_there(connect: Connect, host: str, port: str, why: str) -> None:
    trouble = await fault(CALLS[0], connect(host=host, port=port))

    assert trouble.reason is Reason.BROKER_UNREACHABLE
    assert not trouble.terminal
    assert trouble.message == (
        f"RabbitMQ at {host}:{port} does not answer ({why}). The Secret's uri says {host}:{port}: "
        "start the broker, or correct the Secret."
    )


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://127.0.0.1:1", "connection refused"),
        ("http://nowhere.invalid:15672", "host name not found"),
        ("https://127.0.0.1:{management}", "TLS handshake failed"),
        ("http://127.0.0.1:{amqp}", "connection closed"),
        ("http://127.0.0.1:{management}/prefix", "it answers 400 Bad Request"),
    ],
)
async def test_a_management_api_that_is_not_there_never_stops_a_probe(
    connect: Connect, broker: Broker, amqp: AbstractConnection, uri: str, why: str
) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("jobs", durable=True)
    address = uri.format(management=broker.management_port, amqp=broker.amqp_port)
    rabbitmq = connect(management_uri=address)

    for call in CALLS[1:]:
        trouble = await fault(call, rabbitmq)
        assert trouble.reason is Reason.MANAGEMENT_UNREACHABLE
        assert trouble.message == (
            f"Management API {address} does not answer ({why}). "
            "Enable the rabbitmq_management plugin, or set management-uri in the Secret."
        )
    assert (await probed(rabbitmq, "jobs")).ready == 0


async def test_no_secret_is_logged_or_raised(
    connect: Connect, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Invariant: secrets stay secret, at every log level."""
    caplog.set_level(logging.DEBUG)
    for name in ("aiormq", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    user_info = broker.management_url.replace("http://", "http://guest:hunter2@")
    nowhere = {"port": "1", "management_uri": "http://guest:hunter2@127.0.0.1:1"}
    secrets: list[dict[str, str]] = [{}, nowhere, {"management_uri": user_info}]
    messages = [(await fault(call, connect(password="hunter2", **keys))).message for call in CALLS for keys in secrets]

    assert caplog.records
    assert "hunter2" not in caplog.text + "".join(messages)


async def test_a_broker_that_hangs_up_is_not_called_at_every_probe(connect: Connect) -> None:
    """Nothing is retried hot."""
    calls = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        rabbitmq = connect(port=str(server.sockets[0].getsockname()[1]))
        for _ in range(300):
            assert (await fault(CALLS[0], rabbitmq)).reason is Reason.BROKER_UNREACHABLE

    assert 1 <= calls < 100


@pytest.mark.fault
async def test_a_broker_that_stops_and_comes_back(connect: Connect, broker: Broker) -> None:
    rabbitmq = connect()
    await rabbitmq.apply([Declare(Queue("jobs"))])
    assert (await probed(rabbitmq, "jobs")).ready == 0

    await asyncio.to_thread(broker.stop)
    try:
        troubles = [await fault(call, rabbitmq) for call in CALLS]
    finally:
        await asyncio.to_thread(broker.start)

    assert [each.reason for each in troubles] == [
        Reason.BROKER_UNREACHABLE,
        Reason.MANAGEMENT_UNREACHABLE,
        Reason.MANAGEMENT_UNREACHABLE,
    ]
    assert (await _once_back(rabbitmq)) == 0
    assert "jobs" in await rabbitmq.sweep()


@pytest.mark.fault
async def test_a_broker_that_freezes_and_thaws(connect: Connect, broker: Broker, amqp: AbstractConnection) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("jobs", durable=True)
    rabbitmq = connect()
    assert (await probed(rabbitmq, "jobs")).ready == 0

    broker.pause()
    try:
        async with asyncio.timeout(60):
            trouble = await _first_fault(rabbitmq)
    finally:
        broker.resume()

    assert trouble.reason is Reason.BROKER_UNREACHABLE
    assert "no answer in time" in trouble.message
    assert (await _once_back(rabbitmq)) == 0


async def _first_fault(rabbitmq: Vhost) -> BrokerFault:
    while True:
        try:
            assert await rabbitmq.probe(["jobs"]) == {}, "no answer is no reading"
        except BrokerFault as fault:
            return fault


async def _once_back(rabbitmq: Vhost) -> int | None:
    async with asyncio.timeout(60):
        while True:
            try:
                return (await probed(rabbitmq, "jobs")).ready
            except BrokerFault:
                await asyncio.sleep(0.1)
