"""What the control thread survives. The protocol itself is tested with a real broker."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Queue

import pytest
from typing_extensions import override

from taskqueue_drain import Figures
from taskqueue_drain.backoff import Backoff
from taskqueue_drain.control_thread import DRAINING_POLL_SECONDS, POLL_SECONDS, ControlThread
from tests.unit.taskqueue_drain.fake_runtime import FakeRuntime, Recorder, joined


class FaultyBroker:
    """Refuses the first connections; the session of the next one ends when the runtime fails."""

    def __init__(self, faults: Sequence[Exception]) -> None:
        self.faults = list(faults)
        self.is_blocked = False
        self.reports: Queue[bytes] = Queue()

    @contextmanager
    def open_session(self) -> Iterator["FaultyBroker"]:
        if self.faults:
            raise self.faults.pop(0)
        yield self

    def publish(self, report: bytes) -> None:
        self.reports.put(report)

    def receive(self, seconds: float) -> Sequence[bytes]:  # noqa: ARG002 - nothing arrives
        return ()

    def wake(self) -> None:
        """`receive` never waits."""


class SilentBroker(FaultyBroker):
    """Nothing arrives, however long one waits."""

    def __init__(self) -> None:
        super().__init__([])
        self._woken: Queue[None] = Queue()

    @override
    def receive(self, seconds: float) -> Sequence[bytes]:
        self._woken.get()
        return ()

    @override
    def wake(self) -> None:
        self._woken.put(None)


class ChangingBroker(FaultyBroker):
    """The runtime consumes as soon as the worker has reported that it does not."""

    def __init__(self, runtime: FakeRuntime) -> None:
        super().__init__([])
        self.waits: Queue[float] = Queue()
        self._runtime = runtime

    @override
    def publish(self, report: bytes) -> None:
        self._runtime.is_consuming = True

    @override
    def receive(self, seconds: float) -> Sequence[bytes]:
        self.waits.put(seconds)
        return ()


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "next_delay", lambda *_: 0.0)


def test_each_other_fault_is_told_once_and_the_thread_goes_on() -> None:
    broker = FaultyBroker([OSError("refused"), OSError("refused"), ValueError("no such host")])
    recorder = Recorder()
    thread = ControlThread(joined(FakeRuntime(), recorder), broker.open_session, recorder)
    thread.start()
    broker.reports.get(timeout=30)
    thread.close()
    assert recorder.events == ["refused", "no such host"]


def test_a_runtime_that_fails_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FaultyBroker([])
    recorder = Recorder()
    runtime = FakeRuntime()
    thread = ControlThread(joined(runtime, recorder), broker.open_session, recorder)
    with monkeypatch.context() as patch:
        failed: Queue[None] = Queue()

        def figures() -> Figures:
            failed.put(None)
            raise ValueError("the runtime fails")

        patch.setattr(runtime, "figures", figures)
        thread.start()
        failed.get(timeout=30)
        failed.get(timeout=30)
    broker.reports.get(timeout=30)
    thread.close()
    assert recorder.events == ["the runtime fails"]


def test_a_worker_that_ends_at_once_has_reported_that_it_leaves() -> None:
    broker = FaultyBroker([])
    recorder = Recorder()
    thread = ControlThread(joined(FakeRuntime(), recorder), broker.open_session, recorder)
    thread.start()
    broker.reports.get(timeout=30)
    thread.leave()
    thread.close()
    thread.wait_for_last_report()
    assert json.loads(broker.reports.get_nowait())["state"] == "leaving"


def test_a_change_that_follows_a_report_at_once_is_reported_without_a_long_wait() -> None:
    runtime = FakeRuntime(is_consuming=False)
    broker = ChangingBroker(runtime)
    recorder = Recorder()
    thread = ControlThread(joined(runtime, recorder), broker.open_session, recorder)
    thread.start()
    waits = [broker.waits.get(timeout=30) for _ in range(2)]
    thread.close()
    assert waits == [DRAINING_POLL_SECONDS, POLL_SECONDS]


def test_a_broker_that_reads_nothing_is_not_reached() -> None:
    broker = FaultyBroker([])
    thread = ControlThread(joined(FakeRuntime(), Recorder()), broker.open_session, Recorder())
    reached = [thread.is_reached]
    thread.start()
    broker.reports.get(timeout=10)
    reached.append(thread.is_reached)
    broker.is_blocked = True
    reached.append(thread.is_reached)
    thread.close()
    assert reached == [False, True, False]


def test_the_last_report_waits_for_nothing_from_the_broker() -> None:
    broker, recorder = SilentBroker(), Recorder()
    thread = ControlThread(joined(FakeRuntime(), recorder), broker.open_session, recorder)
    thread.start()
    broker.reports.get(timeout=30)
    thread.leave()
    thread.close()
    assert json.loads(broker.reports.get(timeout=30))["state"] == "leaving"
