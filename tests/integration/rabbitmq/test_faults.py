import asyncio
import logging
import shlex
import socket
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from aiormq.abc import AbstractConnection

from taskqueue_operator.rabbitmq.faults import CAUSES
from taskqueue_operator.rabbitmq.vhost import Vhost
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.topology.diff import Declare
from taskqueue_operator.topology.objects import Queue
from tests.cluster.broker import Broker
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, approve, probed

Call = Callable[[Vhost], Awaitable[object]]
CAUSE = dict(CAUSES)
CALLS: list[Call] = [lambda vhost: vhost.probe(["jobs"]), lambda vhost: vhost.sweep(), lambda vhost: vhost.topology()]


async def fault(call: Call, rabbitmq: Vhost) -> BrokerFault:
    with pytest.raises(BrokerFault) as raised:
        await call(rabbitmq)
    return raised.value


async def test_a_wrong_password_is_an_authentication_failure(connect: Connect, broker: Broker) -> None:
    probe, sweep, topology = [await fault(call, connect(password="hunter2")) for call in CALLS]

    assert {probe.reason, sweep.reason, topology.reason} == {Reason.AUTHENTICATION_FAILED}
    approve("broker.wrong_password", probe.message, {f"127.0.0.1:{broker.amqp_port}": "BROKER"})
    approve("broker.wrong_management_password", sweep.message, {broker.management_url: "MANAGEMENT"})
    assert topology.message == sweep.message


@pytest.mark.parametrize("call", CALLS)
async def test_a_missing_vhost_is_named(connect: Connect, broker: Broker, call: Call) -> None:
    broker_fault = await fault(call, connect(vhost="no such"))

    assert broker_fault.reason is Reason.VHOST_NOT_FOUND
    placeholders = {
        f"127.0.0.1:{broker.amqp_port}": "BROKER",
        "add_vhost 'no such'": "add_vhost nowhere",
        "no such": "nowhere",
    }
    approve("broker.no_vhost", broker_fault.message, placeholders)


@pytest.mark.parametrize("call", CALLS)
async def test_missing_permissions_in_a_vhost_are_a_permission_fault(
    connect: Connect, user: MakeUser, broker: Broker, call: Call
) -> None:
    name = user("management")

    broker_fault = await fault(call, connect(username=name, password=PASSWORD, vhost="/"))

    assert broker_fault.reason is Reason.PERMISSION_DENIED
    message = broker_fault.message.replace('vhost "/"', 'vhost "team"').replace("-p / ", "-p team ")
    approve("broker.vhost_forbidden", message, {f"127.0.0.1:{broker.amqp_port}": "BROKER", name: "app-team"})


async def test_a_connection_limit_of_a_vhost_is_reported_in_the_text_of_rabbitmq(
    connect: Connect, admin: httpx.Client, vhost: str, broker: Broker
) -> None:
    path = f"/vhost-limits/{quote(vhost, safe='')}/max-connections"
    (await asyncio.to_thread(admin.put, path, json={"value": 0})).raise_for_status()

    broker_fault = await fault(CALLS[0], connect())

    assert broker_fault.reason is Reason.VHOST_NOT_FOUND
    start, named, text = broker_fault.message.partition(f'vhost "{vhost}"')
    assert "limit" in text, "the text of RabbitMQ"
    placeholders = {f"127.0.0.1:{broker.amqp_port}": "BROKER", "guest": "app-team", vhost: "team"}
    approve("broker.vhost_refused", f"{start}{named}: TEXT OF RABBITMQ", placeholders)


async def test_amqp_alone_distinguishes_a_missing_vhost_from_missing_permissions(
    connect: Connect, user: MakeUser
) -> None:
    nowhere = {"management_uri": "http://127.0.0.1:1"}
    name = user("")

    missing = await fault(CALLS[0], connect(vhost="missing", **nowhere))
    forbidden = await fault(CALLS[0], connect(vhost="/", username=name, password=PASSWORD, **nowhere))

    assert (missing.reason, forbidden.reason) == (Reason.VHOST_NOT_FOUND, Reason.PERMISSION_DENIED)


async def test_a_missing_tag_is_named_with_the_command_that_adds_it(
    connect: Connect, user: MakeUser, broker: Broker
) -> None:
    name = user("")

    broker_fault = await fault(CALLS[1], connect(username=name, password=PASSWORD))

    assert broker_fault.reason is Reason.PERMISSION_DENIED
    placeholders = {broker.management_url: "MANAGEMENT", name: "app-team"}
    approve("broker.management_tag_missing", broker_fault.message, placeholders)


async def test_a_queue_without_any_permission_has_a_fault_and_does_not_affect_the_others(
    connect: Connect, user: MakeUser, amqp: AbstractConnection, broker: Broker, vhost: str
) -> None:
    channel = await amqp.channel()
    for queue in ("jobs", "mine"):
        await channel.queue_declare(queue, durable=True)
    name = user("management", configure="^mine$", write="^$", read="^$")
    rabbitmq = connect(username=name, password=PASSWORD)

    refused, mine = await probed(rabbitmq, "jobs"), await probed(rabbitmq, "mine")

    assert refused.fault is not None
    assert refused.fault.reason is Reason.PERMISSION_DENIED
    placeholders = {
        'read the depth of queue "jobs"': 'configure exchange "jobs"',
        f"127.0.0.1:{broker.amqp_port}": "BROKER",
        shlex.quote(vhost): "team",
        vhost: "team",
        name: "app-team",
    }
    approve("broker.operation_forbidden", refused.fault.message, placeholders)
    assert (refused.ready, mine.ready, mine.fault) == (None, 0, None)


@pytest.mark.parametrize(
    ("host", "port", "why"),
    [("127.0.0.1", "1", CAUSE[ConnectionRefusedError]), ("nowhere.invalid", "5672", CAUSE[socket.gaierror])],
)
async def test_an_unreachable_broker_is_reported_with_its_address(
    connect: Connect, host: str, port: str, why: str
) -> None:
    broker_fault = await fault(CALLS[0], connect(host=host, port=port))

    assert broker_fault.reason is Reason.BROKER_UNREACHABLE
    assert not broker_fault.terminal
    approve("broker.unreachable", broker_fault.message, {f"{host}:{port}": "BROKER", why: "WHY"})


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://127.0.0.1:1", CAUSE[ConnectionRefusedError]),
        ("http://nowhere.invalid:15672", CAUSE[socket.gaierror]),
        ("https://127.0.0.1:{management}", CAUSE[ssl.SSLError]),
        ("http://127.0.0.1:{amqp}", CAUSE[ConnectionError]),
        ("http://127.0.0.1:{management}/prefix", "HTTP status 400 Bad Request"),
    ],
)
async def test_probes_work_without_the_management_api(
    connect: Connect, broker: Broker, amqp: AbstractConnection, uri: str, why: str
) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("jobs", durable=True)
    address = uri.format(management=broker.management_port, amqp=broker.amqp_port)
    rabbitmq = connect(management_uri=address)

    for call in CALLS[1:]:
        broker_fault = await fault(call, rabbitmq)
        assert broker_fault.reason is Reason.MANAGEMENT_UNREACHABLE
        placeholders = {address.removesuffix("/prefix"): "MANAGEMENT", why: "WHY"}
        approve("broker.management_unreachable", broker_fault.message, placeholders)
    assert (await probed(rabbitmq, "jobs")).ready == 0


async def test_no_secret_is_in_a_log_line_or_an_error(
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


async def test_a_broker_that_closes_every_connection_is_not_called_at_every_probe(connect: Connect) -> None:
    calls = 0

    async def close_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(close_at_once, "127.0.0.1", 0)
    async with server:
        rabbitmq = connect(port=str(server.sockets[0].getsockname()[1]))
        for _ in range(300):
            assert (await fault(CALLS[0], rabbitmq)).reason is Reason.BROKER_UNREACHABLE

    assert 1 <= calls < 100


@pytest.mark.fault
async def test_a_restarted_broker_is_read_again(connect: Connect, broker: Broker) -> None:
    rabbitmq = connect()
    await rabbitmq.apply([Declare(Queue("jobs"))])
    assert (await probed(rabbitmq, "jobs")).ready == 0

    await asyncio.to_thread(broker.stop)
    try:
        broker_faults = [await fault(call, rabbitmq) for call in CALLS]
    finally:
        await asyncio.to_thread(broker.start)

    assert [broker_fault.reason for broker_fault in broker_faults] == [
        Reason.BROKER_UNREACHABLE,
        Reason.MANAGEMENT_UNREACHABLE,
        Reason.MANAGEMENT_UNREACHABLE,
    ]
    assert (await _ready_after_recovery(rabbitmq)) == 0
    assert "jobs" in await rabbitmq.sweep()


@pytest.mark.fault
async def test_a_paused_broker_is_unreachable_until_it_resumes(
    connect: Connect, broker: Broker, amqp: AbstractConnection
) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("jobs", durable=True)
    rabbitmq = connect()
    assert (await probed(rabbitmq, "jobs")).ready == 0

    broker.pause()
    try:
        async with asyncio.timeout(120):
            broker_fault = await _first_fault(rabbitmq)
    finally:
        broker.resume()

    assert broker_fault.reason is Reason.BROKER_UNREACHABLE
    assert CAUSE[TimeoutError] in broker_fault.message
    assert (await _ready_after_recovery(rabbitmq)) == 0


async def _first_fault(rabbitmq: Vhost) -> BrokerFault:
    frozen = datetime.now(UTC)
    while True:
        try:
            # An answer to an earlier question may still be on its way.
            answers = (await rabbitmq.probe(["jobs"])).values()
            assert all(answer.at < frozen for answer in answers), "no answer is no reading"
        except BrokerFault as fault:
            return fault


async def _ready_after_recovery(rabbitmq: Vhost) -> int | None:
    async with asyncio.timeout(120):
        while True:
            try:
                return (await probed(rabbitmq, "jobs")).ready
            except BrokerFault:
                await asyncio.sleep(0.1)
