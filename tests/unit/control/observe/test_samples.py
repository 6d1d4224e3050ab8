"""What the samples of one queue say about it."""

from datetime import timedelta

import pytest

from taskqueue_operator.control.observe.samples import Samples
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Probe, Sweep
from tests.unit.scaling.builders import START

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("depths", "messages"),
    [
        ([], None),
        ([0], 0),
        ([2, 0], 2),
        ([2, 0, 0], 0),
        ([2, 5], 5),
        ([5, 2], 2),
    ],
)
def test_one_reading_of_zero_is_not_believed_of_a_queue_that_is_missing_then(
    depths: list[int], messages: int | None
) -> None:
    samples = Samples({Key("media", "thumbnails")}, START)
    for number, depth in enumerate([*depths, None]):
        samples.add_probe(Probe(START + number * SECOND, depth, missing=depth is None))
    assert samples.last_messages == messages


def test_messages_that_workers_hold_are_those_of_the_last_sweep_that_is_certain() -> None:
    samples = Samples({Key("media", "thumbnails")}, START)
    samples.add_probe(Probe(START, 2))
    samples.add_sweep(Sweep(START, present=True, running=True, ready=2, unacked=3))
    samples.add_sweep(Sweep(START + SECOND, present=False))
    assert samples.last_messages == 5
