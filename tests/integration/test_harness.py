"""The test harness itself: its API server and brokers answer, and recover from what the tests do to them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aio_pika
import httpx
import pytest

from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane
from tests.cluster.debian import NEWEST_RABBITMQ
from tests.cluster.processes import Processes
from tests.cluster.progress import until
from tests.integration.harness.versions import every_version


def test_the_api_server_has_the_version_of_its_source(control_plane: ControlPlane) -> None:
    version = json.loads(control_plane.kubectl("version", "--output=json"))["serverVersion"]

    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")


def test_a_deployment_gets_its_pods(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "deployment", "bench", "--image=none", "--replicas=3")

    until(lambda: _pods(control_plane, "bench") == 3, "three pods", seconds=120)

    control_plane.kubectl("delete", "deployment", "bench", "--cascade=foreground")
    assert _pods(control_plane, "bench") == 0


def test_a_stopped_api_server_keeps_its_objects(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "configmap", "kept", "--from-literal=answer=42")

    control_plane.stop_apiserver()
    with pytest.raises(RuntimeError, match="refused"):
        control_plane.kubectl("get", "configmap", "kept")
    control_plane.start_apiserver()

    assert control_plane.kubectl("get", "configmap", "kept", "-o=jsonpath={.data.answer}") == "42"


@every_version
def test_the_broker_has_its_version_and_the_usual_plugins(broker: Broker) -> None:
    listed = broker.ctl("list_vhosts", "name")
    overview = httpx.get(f"{broker.management_url}/api/overview", auth=("guest", "guest")).json()
    vhosts = httpx.get(f"{broker.management_url}/api/vhosts", auth=("guest", "guest")).json()

    assert {vhost["name"] for vhost in vhosts} <= {*listed.split()}, "the command line reaches this very node"
    version, named = (
        [int(part) for part in text.split(".")[:2]] for text in (overview["rabbitmq_version"], broker.version)
    )
    assert version == named or (version > named and broker.version == NEWEST_RABBITMQ), "Debian sid moves on"
    assert "x-consistent-hash" in {exchange["name"] for exchange in overview["exchange_types"]}


async def test_a_durable_queue_and_its_message_survive_a_restart_of_the_broker(tmp_path: Path) -> None:
    with Broker.start(tmp_path) as own:
        async with await aio_pika.connect(own.url) as connection, connection.channel() as channel:
            queue = await channel.declare_queue("kept", durable=True, arguments={"x-queue-type": "quorum"})
            await channel.default_exchange.publish(aio_pika.Message(b"still here"), routing_key=queue.name)

        own.stop()
        own.start()

        async with await aio_pika.connect(own.url) as connection, connection.channel() as channel:
            queue = await channel.get_queue("kept")
            message = await queue.get(no_ack=True, timeout=120)
            assert message is not None
            assert message.body == b"still here"


def test_a_paused_broker_does_not_answer_until_it_is_resumed(tmp_path: Path) -> None:
    with Broker.start(tmp_path) as own:
        own.pause()
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"{own.management_url}/api/overview", auth=("guest", "guest"), timeout=0.5)
        own.resume()

        assert httpx.get(f"{own.management_url}/api/overview", auth=("guest", "guest"), timeout=120).status_code == 200


def test_over_tls_only_a_client_that_trusts_the_authority_connects(tmp_path: Path) -> None:
    with Broker.start(tmp_path, tls=True) as own:
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{own.management_url}/api/overview")

        assert own.url.startswith("amqps://")


def test_processes_of_a_killed_test_run_end_with_it(tmp_path: Path) -> None:
    program = f"""
import time; from pathlib import Path; from tests.cluster.processes import Processes
processes = Processes(Path({str(tmp_path)!r})); processes.guard(); processes.spawn("sleeper", ["sleep", "600"])
print("started", flush=True); time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"started\n"
        sleeper = Processes(tmp_path).pid("sleeper")
        assert sleeper is not None
        os.kill(run.pid, signal.SIGKILL)

    until(lambda: Processes(tmp_path).pid("sleeper") is None, "the sleeper is gone", seconds=120)


def _pods(control_plane: ControlPlane, app: str) -> int:
    return len(json.loads(control_plane.kubectl("get", "pods", f"--selector=app={app}", "--output=json"))["items"])
