"""How soon the operator repairs what another client changes on the broker, in one vhost with all TaskQueues.

The API server is played by this process; broker and operator are real ones, as processes of their own.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx

from tests.bench.context import Context
from tests.bench.played.fleet import PlayedFleet
from tests.bench.played.objects import Body, Objects
from tests.bench.played.real_broker import RealBroker
from tests.bench.played.world import api_server, start
from tests.bench.polling import eventually
from tests.bench.result import Result, Target, spread
from tests.cluster.broker import Broker
from tests.cluster.progress import step
from tests.integration.harness.operator_process import OperatorProcess

FAULTS: Final = 50
"""Of each kind, with 1,000 TaskQueues."""
PAUSE_SECONDS: Final = (0.1, 0.7)
"""Between two faults, so that they hit any phase of a round."""
POLL_SECONDS: Final = 0.5
"""The requests of this benchmark take CPU from the broker."""
TIMEOUT_SECONDS: Final = 60
QUIET_SECONDS: Final = 60
"""At 20 a second, the operator has then written every status."""
PLAIN_FOR_HOURS: Final[Body] = {"image": "worker:1", "protocol": "Plain", "taskTimeoutSeconds": 7260}
"""Such workers need a policy of the operator."""
TARGETS: Final = {
    "repair_p99_s": Target("<=", 10),
    "unrepaired": Target("<=", 0),
    "untold": Target("<=", 0),
    "writes_without_drift": Target("<=", 0),
}


class Fault(NamedTuple):
    """What another client does to a TaskQueue, and what is there again once that is repaired.

    Attributes:
        method: Of the request that changes something.
        path: Of that request; `{name}` is the TaskQueue.
        repaired: Path of what is there again.
        body: Of the request.
        expected: What the answer contains once it is repaired.
    """

    method: str
    path: str
    repaired: str
    body: Body | None = None
    expected: str = "{name}"


_FED: Final = "bindings/%2F/e/{name}/e/{name}.in"
_BOUND: Final = "bindings/%2F/e/{name}.in/q/{name}"
_POLICY: Final = "policies/%2F/{name}.timeout"
_OTHER_POLICY: Final[Body] = {
    "pattern": "^{name}$",
    "apply-to": "queues",
    "priority": 999,
    "definition": {"max-length": 9},
}
KINDS: Final = {
    "exchange": Fault("DELETE", "exchanges/%2F/{name}", _FED),
    "private_exchange": Fault("DELETE", "exchanges/%2F/{name}.in", _FED),
    "binding": Fault("DELETE", _FED + "/{name}", _FED),
    "binding_of_queue": Fault("DELETE", _BOUND + "/~", _BOUND),
    "binding_of_another": Fault("POST", _FED, _FED, {"routing_key": "another", "arguments": {}}),
    "queue": Fault("DELETE", "queues/%2F/{name}", _BOUND),
    "dead_letter_queue": Fault("DELETE", "queues/%2F/{name}.dlq", "queues/%2F/{name}.dlq"),
    "policy": Fault("DELETE", _POLICY, _POLICY, expected="consumer-timeout"),
    "changed_policy": Fault("PUT", _POLICY, _POLICY, _OTHER_POLICY, expected="consumer-timeout"),
}


async def run(context: Context) -> Result:
    """Change objects of one TaskQueue after the other; each fault has a TaskQueue of its own."""
    count = max(1, FAULTS * context.size // 1000)
    async with _world(context.size, count) as world:
        before = world.operator.writes().get("topology", 0)
        step(f"nothing drifts for {QUIET_SECONDS} s")
        await asyncio.sleep(QUIET_SECONDS)
        written = world.operator.writes().get("topology", 0) - before
        repairs = await world.play(count)
        seconds = [took for took in repairs.values() if took is not None]
        untold = await world.untold([name for _, name in repairs])
    figures = {
        **spread(seconds, "repair_"),
        **{
            f"{kind}_max_s": max(repairs[key] or TIMEOUT_SECONDS for key in repairs if key[0] == kind) for kind in KINDS
        },
        "unrepaired": len(repairs) - len(seconds),
        "untold": untold,
        "writes_without_drift": written,
        "taskqueues": context.size,
    }
    return Result(figures, samples=len(repairs), targets=TARGETS)


@dataclass
class _World:
    objects: Objects
    operator: OperatorProcess
    http: httpx.AsyncClient
    names: Sequence[str]

    async def play(self, count: int) -> dict[tuple[str, str], float | None]:
        """Cause so many faults of each kind; return the seconds until each was repaired, None if it was not."""
        plain = [name for name in self.names if name.startswith("plain")]
        others = [name for name in self.names if not name.startswith("plain")]
        faults = [(kind, (plain if "policy" in kind else others).pop()) for kind in KINDS for _ in range(count)]
        random.shuffle(faults)
        step(f"{len(faults)} faults")
        tasks = {}
        for kind, name in faults:
            tasks[kind, name] = asyncio.create_task(self._fault(KINDS[kind], name))
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
        return {key: await task for key, task in tasks.items()}

    async def untold(self, names: Sequence[str]) -> int:
        """Return for how many of these TaskQueues there is no Event."""

        def told() -> set[str]:
            events = self.objects.events.items.values()
            return {event["involvedObject"]["name"] for event in events if event["reason"] == "TopologyRepaired"}

        async def are_told() -> bool:
            return told() >= set(names)

        try:
            await eventually(are_told, "every repair has an Event", seconds=TIMEOUT_SECONDS, every=1)
        except TimeoutError as late:
            step(str(late))
        return len(set(names) - told())

    async def _fault(self, fault: Fault, name: str) -> float | None:
        body = fault.body and {**fault.body, **({"pattern": f"^{name}$"} if "pattern" in fault.body else {})}
        began = time.monotonic()
        (await self.http.request(fault.method, fault.path.format(name=name), json=body)).raise_for_status()
        while time.monotonic() - began < TIMEOUT_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
            answer = await self.http.get(fault.repaired.format(name=name))
            if answer.is_success and fault.expected.format(name=name) in answer.text and "another" not in answer.text:
                return time.monotonic() - began
        step(f"not repaired: {fault.method} {fault.path.format(name=name)}")
        return None


@asynccontextmanager
async def _world(size: int, count: int) -> AsyncIterator[_World]:
    """Start a broker with the topology of all TaskQueues, and an operator that has verified it."""
    objects = Objects()
    fleet = PlayedFleet(objects)
    with tempfile.TemporaryDirectory() as directory, Broker.start(Path(directory) / "broker") as broker:
        real = RealBroker(broker)
        fleet.add_broker("rabbitmq", real, vhost=quote("/", safe=""))
        plain = [f"plain-{number:05}" for number in range(2 * count)]
        names = [f"queue-{number:05}" for number in range(size - len(plain))]
        for name in names:
            fleet.add_taskqueue(real, name)
        for name in plain:
            fleet.add_taskqueue(real, name, worker=PLAIN_FOR_HOURS)
        async with (
            real.http() as http,
            api_server(objects, Path(directory)) as kubeconfig,
        ):
            step(f"declaring {size} TaskQueues")
            await real.declare(http)
            operator = OperatorProcess(kubeconfig, Path(directory))
            try:
                await start(operator, size)
                await eventually(partial(_are_ready, objects), "every TaskQueue is ready", seconds=600, every=1)
                yield _World(objects, operator, http, [*names, *plain])
            finally:
                if operator.process is not None and operator.process.poll() is None:
                    await asyncio.to_thread(operator.stop)


async def _are_ready(objects: Objects) -> bool:
    """Whether all policies and statuses are written: a TaskQueue that was reconciled twice counts as one."""
    return all(
        any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
        for body in objects.taskqueues.items.values()
        for conditions in [body.get("status", {}).get("conditions", [])]
    )
