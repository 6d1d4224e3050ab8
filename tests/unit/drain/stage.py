"""A crew with its Deployment and pods, on which a test says what the API shows and what workers report."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from taskqueue_operator.drain.context import DrainContext, QueueState
from taskqueue_operator.drain.plan import Plan, plan
from taskqueue_operator.drain.protocol import Answer, Command, Drain, Report, Result, State, Verb
from taskqueue_operator.drain.worker import Worker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.resource.names import Key
from taskqueue_operator.workers.api_objects import Deployment, Pod

START = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH = 7
MARK = f"{EPOCH}.1"

POD = Pod(
    key=Key("media", "a"),
    uid="a",
    taskqueue="thumbnails",
    resource_version="1",
    digest="1",
    replica_set="r",
    assigned=True,
    phase="Running",
    bare=False,
    restarts=0,
    ready=True,
    deleting=False,
    finished=False,
)
DEPLOYMENT = Deployment(
    key=Key("media", "thumbnails"),
    uid="d",
    resource_version="1",
    generation=1,
    observed_generation=1,
    owner_kind="TaskQueue",
    owner_name="thumbnails",
    owner_uid="t",
    digest="1",
    replicas=3,
    live=3,
    ready=3,
    deleting=False,
    updated=3,
)
BARE: dict[str, Any] = {"bare": True, "ready": False}


def pod(name: str, **fields: Any) -> Pod:  # noqa: ANN401  any field of a pod
    return replace(POD, key=Key("media", name), uid=name, **fields)


def report(name: str, number: int = 1, state: State = State.CONSUMING, **fields: Any) -> Report:  # noqa: ANN401  any field
    said: dict[str, Any] = {
        "incarnation": "0" * 32,
        "in_flight": 0,
        "prefetched": 0,
        "idle_seconds": 0.0,
        "oldest_seconds": None,
        "completed": 0,
        "failed": 0,
        "busy_seconds": 0.0,
        "task_timeout_seconds": 300,
        "drain": None,
        "answer": None,
    }
    return Report(version=1, taskqueue="media/thumbnails", pod=name, number=number, state=state, **said | fields)


class Stage:
    """Time passes by `wait` alone. Workers are named by letters, and consume since long ago."""

    def __init__(self, names: str = "abc", *, mark: str = MARK, **deployment: Any) -> None:  # noqa: ANN401  any field
        self.now = START
        self.numbers = dict.fromkeys(names, 0)
        self.crew = WorkerPool("default", EPOCH, START - timedelta(minutes=5))
        self.pods = {name: pod(name) for name in names}
        count = {"replicas": len(names), "live": len(names), "updated": len(names)}
        self.deployment = replace(DEPLOYMENT, mark=mark, **count | deployment)
        self.commands: dict[str, Command] = {}
        self.show()
        for name in names:
            self.say(name)
        self.wait(20)
        for name in names:
            self.say(name)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def show(self, name: str = "", **fields: Any) -> list[Worker]:  # noqa: ANN401  any field of a pod
        """The API shows a pod otherwise, or what it showed before."""
        if name:
            self.pods[name] = replace(self.pods.get(name, pod(name)), **fields)
        return self.crew.observe(self.deployment, self.pods.values(), self.now)

    def turn(self, **fields: Any) -> None:  # noqa: ANN401  any field of a Deployment
        self.deployment = replace(self.deployment, **fields)
        self.show()

    def say(self, name: str, state: State = State.CONSUMING, **fields: Any) -> None:  # noqa: ANN401  any field
        self.numbers[name] = self.numbers.get(name, 0) + 1
        said = report(name, self.numbers[name], state, **fields)
        self.crew.see(said, f"address of {name}", self.now)

    def tell(self, name: str, verb: Verb = Verb.DRAIN) -> None:
        self.commands[name] = self.crew.command(name, verb, self.now)

    def answer(self, name: str, state: State, result: Result = Result.DONE, **fields: Any) -> None:  # noqa: ANN401
        """Answer the last command; a drained worker says by which command it is."""
        command = self.commands[name]
        drained = state in {State.DRAINING, State.DRAINED}
        drain = Drain(command.installation, command.epoch, command.seq) if drained else None
        self.say(name, state, **{"drain": drain, "answer": Answer(command.id, result)} | fields)

    def drain(self, *names: str, state: State = State.DRAINED, **fields: Any) -> None:  # noqa: ANN401  any field
        for name in names:
            self.tell(name)
            self.answer(name, state, **fields)

    def refuse(self, name: str, state: State, **fields: Any) -> None:  # noqa: ANN401  any field
        self.tell(name)
        self.answer(name, state, Result.REFUSED, **fields)

    def undrain(self, name: str) -> None:
        self.tell(name, Verb.UNDRAIN)
        self.answer(name, State.CONSUMING)

    def worker(self, name: str) -> Worker:
        worker = self.crew.worker(name)
        assert worker is not None
        return worker

    def plan(self, desired: int, *, running: bool = True, empty: bool = False) -> Plan:
        """Plan the next step; `empty` says that the queue was seen empty just now."""
        self.show()
        queue = QueueState(running, self.now + timedelta(microseconds=1) if empty else None)
        return plan(DrainContext(self.crew, self.deployment, queue, desired, self.now))

    def priced(self, desired: int, **queue: Any) -> Plan:  # noqa: ANN401  as for `plan`
        """Plan the step after that in which the costs are written."""
        for uid, cost in self.plan(desired, **queue).costs.items():
            self.pods[uid] = replace(self.pods[uid], cost=cost, cost_is_managed=cost is not None)
        return self.plan(desired, **queue)


def names(workers: tuple[Worker, ...]) -> str:
    return "".join(sorted(worker.uid for worker in workers))
