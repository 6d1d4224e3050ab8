"""What answers to probes change."""

import pytest
import structlog
from typing_extensions import override

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.observe.followed_queues import FollowedQueues
from taskqueue_operator.control.observe.probe_answers import SLICE, ProbeAnswers
from taskqueue_operator.resource.names import Key
from tests.unit.control.fake_cluster import FakeTelemetry
from tests.unit.iterations import Iterations, counted_iterations

from .recording_listener import RecordingListener

pytestmark = pytest.mark.looptime


class Listener(RecordingListener):
    """Records in which iteration each TaskQueue is decided on."""

    def __init__(self, iterations: Iterations) -> None:
        super().__init__()
        self._iterations = iterations

    @override
    def on_readings(self, keys: object) -> None:
        assert isinstance(keys, set)
        for _ in keys:
            self._iterations.record()


async def test_other_tasks_run_between_the_decisions_of_a_batch() -> None:
    queues = [f"queue-{number}" for number in range(1000)]
    followed = FollowedQueues(loop_clock())
    for queue in queues:
        followed.follow(Key("media", queue), [queue])
    with counted_iterations() as iterations:
        answers = ProbeAnswers(followed, Listener(iterations), FakeTelemetry(), structlog.get_logger())
        await answers.store(queues, {}, 0.0)
    assert iterations.total == len(queues)
    assert iterations.most <= SLICE
