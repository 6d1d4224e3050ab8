"""How a deletion has ended."""

from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY


def is_deleted(harness: ControlHarness) -> bool:
    return KEY not in harness.cluster.taskqueues


def retained(harness: ControlHarness) -> list[str]:
    return [str(event[2]) for event in harness.telemetry.events if event[0] == "retained"]
