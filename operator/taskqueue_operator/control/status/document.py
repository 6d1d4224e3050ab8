"""Builds the status of a TaskQueue, and compares it with what is written."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from taskqueue_operator.control.cache import CachedTaskQueue
from taskqueue_operator.control.state import TaskQueueState
from taskqueue_operator.resource.bounds import FAULT_CHARACTERS
from taskqueue_operator.resource.conditions import ConditionStatus, ConditionType, render, timestamp
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.text import shorten
from taskqueue_operator.scaling.decision import OBSTACLE_REASONS

from .conditions import build_conditions
from .deadlines import Deadlines
from .inputs import StatusInputs
from .migration_progress import without_counts

Status = dict[str, Any]
FIGURES: Final = frozenset({"backlog", "deadLetters", "decision"})


class Change(IntEnum):
    """How a status differs from the one that is written."""

    NONE = 0
    FIGURES = 1
    CONDITIONS = 2


def build_status(seen: CachedTaskQueue, state: TaskQueueState, inputs: StatusInputs, deadlines: Deadlines) -> Status:
    """Return the status, based on the former one: fields about which nothing is known yet stay."""
    status = dict(seen.status)
    if inputs.is_observed:
        status["observedGeneration"] = seen.generation
    if isinstance(seen.parsed, TaskQueue) and state.reconcile.topology_generation is not None:
        status["queue"] = seen.parsed.queue_name
    if inputs.deployment is not None:
        status |= {"replicas": inputs.deployment.current_replicas, "readyReplicas": inputs.deployment.ready}
    status |= _decision(status, inputs)
    if state.scaling.last_scale is not None:
        status["lastScaleTime"] = timestamp(state.scaling.last_scale.at)
    status |= _backlog(status, inputs)
    if inputs.dead_letters is not None:
        status["deadLetters"] = inputs.dead_letters
    before = seen.status.get("conditions", ())
    # Before all stages have run for the present generation, what is known is of the former one.
    generation = seen.generation if inputs.is_observed else state.reconcile.observed_generation or seen.generation
    status["conditions"] = render(build_conditions(inputs), before, generation=generation, now=deadlines.now)
    return status


def change(before: Status, after: Status) -> Change:
    """Return how much of a status has changed."""
    if before == after:
        return Change.NONE
    return Change.FIGURES if _significant(before) == _significant(after) else Change.CONDITIONS


def is_volatile(condition: Mapping[str, Any]) -> bool:
    """Whether a condition may flip with every reading, such as ScalingLimited of a demand around maxReplicas."""
    if condition["type"] == ConditionType.SCALING_ACTIVE:
        return bool(condition["status"] == ConditionStatus.TRUE)  # a doubt that may end with the next sweep, or none
    return condition["type"] == ConditionType.SCALING_LIMITED and condition["reason"] not in OBSTACLE_REASONS


def _decision(status: Status, inputs: StatusInputs) -> Status:
    decision = inputs.decision
    if decision is None or not (inputs.conclusive or decision.desired != status.get("desiredReplicas")):
        return {}
    explanation = shorten(decision.explanation, FAULT_CHARACTERS)
    return {"desiredReplicas": decision.desired, "decision": explanation}


def _backlog(status: Status, inputs: StatusInputs) -> Status:
    reading, before = inputs.reading, status.get("backlog", {})
    if reading is None or reading.at_least is None:
        return {}
    figures = {"ready": reading.at_least} | ({"unacked": reading.unacked} if reading.unacked is not None else {})
    if inputs.delayed or (inputs.delayed is not None and "delayed" in before):
        figures["delayed"] = inputs.delayed
    if figures.items() <= before.items():
        return {}
    return {"backlog": figures | {"at": timestamp(reading.at)}}


def _significant(status: Status) -> Status:
    """Return the status without what changes with every reading."""
    kept = {field: value for field, value in status.items() if field not in FIGURES}
    conditions = kept.get("conditions", ())
    return kept | {
        "conditions": [
            condition["type"] if is_volatile(condition) else _without_progress(condition) for condition in conditions
        ]
    }


def _without_progress(condition: Mapping[str, Any]) -> Mapping[str, Any]:
    if condition["reason"] != Reason.MIGRATING:
        return condition
    return {**condition, "message": without_counts(condition["message"])}
