"""A `behavior` block that is pasted from an HPA is valid, and has the same effect."""

from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Workers
from taskqueue_operator.scaling.policy import Policy

from .builders import at, certain, settled


@dataclass(frozen=True)
class Pasted:
    """A block of an HPA, the initial workers, the demand from second 0 on, and the expected workers by second."""

    behavior: str
    begin: int
    demand: int
    numbers: dict[int, int]


PASTED = {
    "the defaults of an HPA": Pasted(
        """
        scaleDown:
          stabilizationWindowSeconds: 300
          policies:
          - type: Percent
            value: 100
            periodSeconds: 15
        scaleUp:
          stabilizationWindowSeconds: 0
          policies:
          - type: Percent
            value: 100
            periodSeconds: 15
          - type: Pods
            value: 4
            periodSeconds: 15
          selectPolicy: Max
        """,
        begin=2,
        demand=40,
        numbers={0: 6, 14: 6, 15: 12, 30: 24, 45: 40},
    ),
    "the same for scale-in": Pasted(
        """
        scaleDown:
          stabilizationWindowSeconds: 300
          policies:
          - {type: Percent, value: 100, periodSeconds: 15}
        """,
        begin=40,
        demand=2,
        numbers={0: 40, 298: 40, 299: 2},
    ),
    "ten percent a minute": Pasted(
        """
        scaleDown:
          stabilizationWindowSeconds: 0
          policies:
          - type: Percent
            value: 10
            periodSeconds: 60
        """,
        begin=80,
        demand=10,
        numbers={0: 72, 59: 72, 60: 64, 120: 57, 180: 51},
    ),
    "four pods or ten percent a minute, whichever is more": Pasted(
        """
        scaleDown:
          stabilizationWindowSeconds: 0
          policies:
          - type: Pods
            value: 4
            periodSeconds: 60
          - type: Percent
            value: 10
            periodSeconds: 60
        """,
        begin=50,
        demand=10,
        numbers={0: 45, 60: 40, 120: 36, 180: 32, 240: 28},
    ),
    "five pods or ten percent a minute, whichever is less": Pasted(
        """
        scaleDown:
          stabilizationWindowSeconds: 0
          selectPolicy: Min
          policies:
          - {type: Pods, value: 5, periodSeconds: 60}
          - {type: Percent, value: 10, periodSeconds: 60}
        """,
        begin=80,
        demand=10,
        numbers={0: 75, 60: 70, 300: 50, 360: 45, 420: 40, 480: 36},
    ),
    "scale-out only": Pasted(
        """
        scaleDown:
          selectPolicy: Disabled
        """,
        begin=30,
        demand=3,
        numbers={0: 30, 3600: 30},
    ),
    "scale-in only": Pasted("{scaleUp: {selectPolicy: Disabled}}", begin=3, demand=30, numbers={0: 3, 3600: 3}),
    "a slow scale-out": Pasted(
        """
        scaleUp:
          stabilizationWindowSeconds: 30
          policies:
          - type: Pods
            value: 2
            periodSeconds: 60
        """,
        begin=1,
        demand=9,
        numbers={0: 1, 28: 1, 29: 3, 88: 3, 89: 5},
    ),
    "within the tolerance": Pasted(
        "{scaleUp: {tolerance: 0.05}}",
        begin=40,
        demand=42,
        numbers={0: 40},
    ),
    "beyond the tolerance": Pasted("{scaleUp: {tolerance: 0.05}}", begin=40, demand=43, numbers={0: 43}),
    "the output of kubectl get hpa -o yaml": Pasted(
        """
        scaleDown:
          policies:
          - periodSeconds: 15
            type: Percent
            value: 100
          selectPolicy: Max
          stabilizationWindowSeconds: 0
          tolerance: 50m
        scaleUp:
          policies:
          - periodSeconds: 15
            type: Pods
            value: 4
          - periodSeconds: 15
            type: Percent
            value: 100
          selectPolicy: Max
          stabilizationWindowSeconds: 0
          tolerance: "0"
        """,
        begin=40,
        demand=38,
        numbers={0: 40},
    ),
}


def policy(behavior: str) -> Policy:
    """Return the policy of a TaskQueue with this block."""
    body: dict[str, Any] = {
        "metadata": {"namespace": "media", "name": "thumbnails", "uid": "0", "resourceVersion": "1"},
        "spec": {
            "broker": {"secretRef": {"name": "rabbitmq"}},
            "worker": {"image": "ghcr.io/acme/thumbnails:1.4"},
            "scaling": {"maxReplicas": 100, "readyPerReplica": 10, "behavior": yaml.safe_load(behavior)},
        },
    }
    return Policy.of(TaskQueue.parse(body))


@pytest.mark.parametrize("pasted", PASTED.values(), ids=PASTED.keys())
def test_a_pasted_block_has_the_same_effect_as_in_an_hpa(pasted: Pasted) -> None:
    rules, replicas = policy(pasted.behavior), pasted.begin
    memory, numbers = settled(replicas, replicas=replicas), {}
    for now in range(max(pasted.numbers) + 1):
        reading = certain(10 * pasted.demand, now=now)
        decision = decide(reading, Workers(replicas, replicas), rules, memory, at(now))
        memory, replicas = decision.memory, decision.desired
        numbers[now] = replicas
    assert {now: numbers[now] for now in pasted.numbers} == pasted.numbers
