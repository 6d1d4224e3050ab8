"""A Deployment with its pods and workers: a test says what the API shows and what the workers report, and plans."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from taskqueue_operator.drain.context import DrainContext, QueueState
from taskqueue_operator.drain.plan import plan
from taskqueue_operator.drain.protocol import Answer, Command, Drain, Result, State, Verb
from taskqueue_operator.drain.worker import Worker
from taskqueue_operator.drain.worker_pool import WorkerPool

from .builders import DEPLOYMENT, EPOCH, START, TOKEN, pod, report
from .planned import Planned


class DrainScenario:
    """Workers are named by letters and have been consuming for a long time. Time passes by `wait` alone."""

    def __init__(
        self,
        names: str = "abc",
        *,
        drain_token: str = TOKEN,
        pool_type: type[WorkerPool] = WorkerPool,
        context_type: type[DrainContext] = DrainContext,
        **deployment: Any,  # noqa: ANN401  any field
    ) -> None:
        self.now = START
        self.numbers = dict.fromkeys(names, 0)
        self.pool = pool_type("default", EPOCH, START - timedelta(minutes=5))
        self.context_type = context_type
        self.pods = {name: pod(name) for name in names}
        count = {"replicas": len(names), "current_replicas": len(names), "updated": len(names)}
        self.deployment = replace(DEPLOYMENT, drain_token=drain_token, **count | deployment)
        self.commands: dict[str, Command] = {}
        self.sync()
        for name in names:
            self.report(name)
        self.wait(20)
        for name in names:
            self.report(name)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # What the API shows.

    def sync(self) -> list[Worker]:
        """Show the pool what the API shows; returns the workers that are no longer active."""
        return self.pool.sync(self.deployment, self.pods.values(), self.now)

    def change_pod(self, name: str, **fields: Any) -> list[Worker]:  # noqa: ANN401  any field of a pod
        self.pods[name] = replace(self.pods.get(name, pod(name)), **fields)
        return self.sync()

    def change_deployment(self, **fields: Any) -> None:  # noqa: ANN401  any field of a Deployment
        self.deployment = replace(self.deployment, **fields)
        self.sync()

    # What workers are sent, and report.

    def report(self, name: str, state: State = State.CONSUMING, **fields: Any) -> None:  # noqa: ANN401  any field
        self.numbers[name] = self.numbers.get(name, 0) + 1
        self.pool.on_report(report(name, self.numbers[name], state, **fields), f"address of {name}", self.now)

    def send(self, name: str, verb: Verb = Verb.DRAIN) -> None:
        self.commands[name] = self.pool.command(name, verb, self.now)

    def answer(self, name: str, state: State, result: Result = Result.DONE, **fields: Any) -> None:  # noqa: ANN401
        """Answer the last command; a drained worker reports which command has drained it."""
        command = self.commands[name]
        drained = state in {State.DRAINING, State.DRAINED}
        drain = Drain(command.installation, command.epoch, command.seq) if drained else None
        self.report(name, state, **{"drain": drain, "answer": Answer(command.id, result)} | fields)

    def drain(self, *names: str, state: State = State.DRAINED, **fields: Any) -> None:  # noqa: ANN401  any field
        for name in names:
            self.send(name)
            self.answer(name, state, **fields)

    def refuse(self, name: str, state: State, **fields: Any) -> None:  # noqa: ANN401  any field
        self.send(name)
        self.answer(name, state, Result.REFUSED, **fields)

    def undrain(self, name: str) -> None:
        self.send(name, Verb.UNDRAIN)
        self.answer(name, State.CONSUMING)

    def begin_scale_in(self) -> None:
        """Request fewer replicas; no answer arrives yet."""
        self.pool.begin_scale_in(self.deployment.generation, self.deployment.drain_token, self.now)

    # What follows.

    def worker(self, name: str) -> Worker:
        worker = self.pool.worker(name)
        assert worker is not None
        return worker

    def context(self, desired: int, queue: QueueState) -> DrainContext:
        self.sync()
        return self.context_type(self.pool, self.deployment, queue, desired, self.now)

    def candidates(self, desired: int) -> str:
        context = self.context(desired, QueueState(running=True))
        return "".join(sorted(worker.uid for worker in context.candidates))

    def plan(self, desired: int, *, running: bool = True, empty: bool = False) -> Planned:
        """Plan the next actions; `empty` says that the queue was seen empty just now."""
        queue = QueueState(running, self.now + timedelta(microseconds=1) if empty else None)
        return Planned(plan(self.context(desired, queue)))

    def plan_after_costs(self, desired: int, **queue: Any) -> Planned:  # noqa: ANN401  as for `plan`
        """Write the deletion costs of a plan, if it has any, and plan again."""
        for uid, cost in self.plan(desired, **queue).costs.items():
            self.pods[uid] = replace(self.pods[uid], cost=cost, cost_is_managed=cost is not None)
        return self.plan(desired, **queue)
