import asyncio
from urllib.parse import quote

import httpx
from aiormq.abc import AbstractConnection
from pamqp.common import FieldValue

from tests.cluster.broker import Broker
from tests.cluster.progress import until
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, probed

QUORUM: dict[str, FieldValue] = {"x-queue-type": "quorum"}


_EACH_SILENT = """
[sys:{act}(amqqueue:get_pid(Q)) || Q <- rabbit_amqqueue:list(<<"{vhost}">>),
 {{resource, _, queue, <<"silent", _/binary>>}} <- [amqqueue:get_name(Q)]].
"""


@every_version
async def test_a_sweep_lists_every_queue_with_state_ready_and_unacked(
    connect: Connect, amqp: AbstractConnection
) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("classic", durable=True)
    await channel.queue_declare("quorum", durable=True, arguments=QUORUM)
    for _ in range(3):
        await channel.basic_publish(b"task", routing_key="classic")
    await channel.basic_get("classic")
    rabbitmq = connect()

    found = await rabbitmq.sweep()

    assert found.keys() == {"classic", "quorum"}
    assert all(sweep.present and sweep.running for sweep in found.values())
    assert (found["classic"].ready, found["classic"].unacked) == (2, 1)
    assert (found["quorum"].ready, found["quorum"].unacked) == (0, 0)


@every_version
async def test_a_probe_counts_a_message_as_soon_as_it_is_confirmed(connect: Connect, amqp: AbstractConnection) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("jobs", durable=True, arguments=QUORUM)
    rabbitmq = connect()

    for published in range(1, 20):
        await channel.basic_publish(b"task", routing_key="jobs")
        assert (await probed(rabbitmq, "jobs")).ready == published


async def test_a_missing_queue_never_stops_the_others(connect: Connect, amqp: AbstractConnection) -> None:
    channel = await amqp.channel()
    names = [f"jobs-{number}" for number in range(50)]
    for name in names[1:]:
        await channel.queue_declare(name, durable=True)
    rabbitmq = connect()

    for _ in range(3):
        found = {name: await probed(rabbitmq, name) for name in names}
        assert found[names[0]].missing
        assert found[names[0]].ready is None
        assert all(found[name].ready == 0 and not found[name].missing for name in names[1:])


async def test_queues_that_do_not_answer_never_delay_the_others(
    connect: Connect, amqp: AbstractConnection, broker: Broker, vhost: str
) -> None:
    channel = await amqp.channel()
    speaking, silent = {f"jobs-{n}" for n in range(140)}, {f"silent-{n}" for n in range(60)}
    for name in speaking | silent:
        await channel.queue_declare(name, durable=True)
    rabbitmq = connect()
    await probed(rabbitmq, "jobs-0")

    await asyncio.to_thread(broker.ctl, "eval", _EACH_SILENT.format(act="suspend", vhost=vhost))
    try:
        rounds = [await rabbitmq.probe(speaking | silent) for _ in range(20)]
    finally:
        await asyncio.to_thread(broker.ctl, "eval", _EACH_SILENT.format(act="resume", vhost=vhost))

    assert all(found.keys() <= speaking for found in rounds), "a queue without an answer has no reading"
    # Every queue answers often; on a busy machine not in every round.
    assert min(sum(name in found for found in rounds) for name in speaking) > 10
    for name in silent:
        assert (await probed(rabbitmq, name)).ready == 0


async def test_probes_at_the_same_time_share_one_named_connection(
    connect: Connect, admin: httpx.Client, vhost: str, amqp: AbstractConnection
) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("jobs", durable=True)
    rabbitmq = connect()

    found = await asyncio.gather(*(probed(rabbitmq, name) for name in ["jobs", "missing"] * 20))

    assert [(probe.ready, probe.missing) for probe in found] == [(0, False), (None, True)] * 20
    # The listing shows a connection a moment after it was made.
    await asyncio.to_thread(until, lambda: len(_names(admin, vhost)) > 1, "connections listed", seconds=120)
    assert _names(admin, vhost) == ["", "taskqueue-operator probe"]


async def test_a_probe_without_queues_does_not_connect(connect: Connect, broker: Broker) -> None:
    """Also without a broker: nothing is connected for nothing."""
    assert broker.amqp_port != 1
    assert await connect(port="1").probe([]) == {}


def _names(admin: httpx.Client, vhost: str) -> list[str]:
    listing = admin.get(f"/vhosts/{quote(vhost, safe='')}/connections").raise_for_status().json()
    return sorted(item.get("client_properties", {}).get("connection_name", "") for item in listing)


async def test_an_alarm_of_the_broker_is_read_by_a_user_without_special_rights(
    connect: Connect, user: MakeUser, broker: Broker
) -> None:
    rabbitmq = connect(username=user("management"), password=PASSWORD)
    before = await rabbitmq.alarms()

    await asyncio.to_thread(broker.ctl, "eval", "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).")
    try:
        during = await rabbitmq.alarms()
    finally:
        await asyncio.to_thread(broker.ctl, "eval", "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).")

    assert [set(found) for found in (before, during, await rabbitmq.alarms())] == [set(), {"memory"}, set()]
