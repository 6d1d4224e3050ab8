"""Builds the conditions of a TaskQueue: a pure function.

A condition about which nothing is known is left out, and then keeps its former value: the first seconds after a restart
know little, and conditions that change back and forth would alarm their users.
"""

from collections.abc import Iterator
from typing import Final

from taskqueue_operator.resource.broker import AdoptionPolicy
from taskqueue_operator.resource.conditions import Condition, ConditionStatus, ConditionType
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import PARKING
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.scaling.decision import LIMITING_REASONS, Decision, DecisionReason
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.referenced import NOT_SCALED

from .inputs import StatusInputs
from .scale_in_blocked import alarm_message

_PARKED: Final = (
    Reason.RETRIES_PARKED,
    (
        f'Exchange, queue and bindings match the spec. In this vhost, queue "{PARKING}" holds retries of queues that '
        "do not exist any more; the routing key of each one is the name of its queue, after 28 digits if Celery has "
        "delayed it. Move them with a shovel, or purge the queue."
    ),
)
STAGES = (ConditionType.BROKER_REACHABLE, ConditionType.TOPOLOGY_READY, ConditionType.WORKERS_AVAILABLE)
_MESSAGES = {
    ConditionType.BROKER_REACHABLE: (Reason.CONNECTED, "RabbitMQ answers."),
    ConditionType.TOPOLOGY_READY: (Reason.RECONCILED, "Exchange, queue and bindings match the spec."),
    ConditionType.WORKERS_AVAILABLE: (Reason.RECONCILED, "The Deployment matches the spec."),
}


def build_conditions(inputs: StatusInputs) -> list[Condition]:
    """Return the conditions about which something is known."""
    return [*_stages(inputs), *_scaling(inputs), *_summary(inputs)]


def _stages(inputs: StatusInputs) -> Iterator[Condition]:
    for stage in STAGES:
        fault = inputs.faults.get(stage)
        if fault is not None:
            yield Condition(stage, ConditionStatus.FALSE, fault.reason, fault.message)
        elif stage is ConditionType.TOPOLOGY_READY and inputs.migration and inputs.is_observed:
            yield Condition(stage, ConditionStatus.FALSE, Reason.MIGRATING, inputs.migration)
        elif stage is ConditionType.WORKERS_AVAILABLE and inputs.deployment is not None and inputs.is_observed:
            yield _workers(inputs, inputs.deployment)
        elif stage is ConditionType.BROKER_REACHABLE and inputs.alarms and inputs.is_observed:
            yield Condition(stage, ConditionStatus.TRUE, Reason.BROKER_ALARM, alarm_message(inputs.alarms))
        elif inputs.is_observed and not _blocked(stage, inputs):
            is_topology = stage is ConditionType.TOPOLOGY_READY
            reason, message = _MESSAGES[stage] if not (is_topology and inputs.parked) else _PARKED
            notice = _not_created(inputs) if is_topology else ""
            yield Condition(stage, ConditionStatus.TRUE, reason, message + notice)
        elif inputs.is_observed:
            yield Condition(stage, ConditionStatus.UNKNOWN, Reason.PROGRESSING, "Waiting for an earlier stage.")


def _not_created(inputs: StatusInputs) -> str:
    """Return what a deletion does with objects that the operator did not create; empty if there are none."""
    if not inputs.not_created:
        return ""
    fate = "deletionPolicy applies to them too" if inputs.adopts else "they stay when the TaskQueue is deleted"
    policy = AdoptionPolicy.IF_MATCHING if inputs.adopts else AdoptionPolicy.NEVER
    return f" The operator did not create {', '.join(inputs.not_created)}: {fate} (adoptionPolicy: {policy})."


def _blocked(stage: ConditionType, inputs: StatusInputs) -> bool:
    return any(earlier in inputs.faults for earlier in STAGES[: STAGES.index(stage)])


def _workers(inputs: StatusInputs, deployment: Deployment) -> Condition:
    type_, scale_out_blocker = ConditionType.WORKERS_AVAILABLE, inputs.scale_out_blocker
    if deployment.replicas > 0 and deployment.ready == 0:
        return Condition(type_, ConditionStatus.UNKNOWN, Reason.WORKERS_STARTING, "No worker is ready yet.")
    if not deployment.replicas:
        return Condition(type_, ConditionStatus.TRUE, Reason.READY, _why_none(inputs))
    why = (
        f": {scale_out_blocker.message}"
        if scale_out_blocker is not None and deployment.ready < deployment.replicas
        else ""
    )
    return Condition(
        type_,
        ConditionStatus.TRUE,
        Reason.READY,
        f"{deployment.ready} of {deployment.replicas} workers are ready{why}.",
    )


def _why_none(inputs: StatusInputs) -> str:
    if inputs.decision is not None and inputs.decision.reason is DecisionReason.PAUSED:
        return "There are no workers: spec.scaling.mode is Paused."
    if inputs.mode is Mode.DRY_RUN:
        return "There are no workers: spec.scaling.mode is DryRun, so decisions are not applied."
    return "No workers are needed."


def _scaling(inputs: StatusInputs) -> Iterator[Condition]:
    decision, reading = inputs.decision, inputs.reading
    not_scaled = next((fault for fault in inputs.faults.values() if fault.reason in NOT_SCALED), None)
    if not_scaled is not None:
        yield Condition(ConditionType.SCALING_ACTIVE, ConditionStatus.FALSE, not_scaled.reason, not_scaled.message)
        return
    if (
        decision is None
        or reading is None
        or not (inputs.conclusive or decision.reason in {DecisionReason.PAUSED, DecisionReason.FALLBACK})
    ):
        return
    inactive = _inactive(inputs, decision, reading)
    truth = ConditionStatus.TRUE if inactive is None else ConditionStatus.FALSE
    yield Condition(ConditionType.SCALING_ACTIVE, truth, *(inactive or _active(inputs, reading)))
    limited = ConditionType.SCALING_LIMITED
    if decision.reason in LIMITING_REASONS:
        yield Condition(limited, ConditionStatus.TRUE, decision.reason, decision.explanation_lines[-1])
    else:
        yield Condition(
            limited, ConditionStatus.FALSE, "DesiredWithinRange", "The desired number is within its limits."
        )


def _inactive(inputs: StatusInputs, decision: Decision, reading: Reading) -> tuple[str, str] | None:
    """Return why the number of workers does not follow the queue; None if it does."""
    fault = inputs.faults.get(ConditionType.SCALING_ACTIVE)
    if fault is not None:
        return fault.reason, fault.message
    if decision.reason is DecisionReason.PAUSED:
        return DecisionReason.PAUSED, "spec.scaling.mode is Paused."
    if inputs.mode is Mode.DRY_RUN:
        return Mode.DRY_RUN, "spec.scaling.mode is DryRun: decisions are not applied."
    if decision.reason is DecisionReason.FALLBACK:
        return DecisionReason.FALLBACK, f"The queue is {decision.explanation_lines[0]}."
    if reading.unreadable:
        doubt = f" ({reading.doubt})" if reading.doubt else ""
        return (
            DecisionReason.QUEUE_UNREADABLE,
            f"The queue cannot be read{doubt}: the number of workers does not change.",
        )
    return None


def _active(inputs: StatusInputs, reading: Reading) -> tuple[str, str]:
    """Return how it follows the queue: in both directions, or for now only upwards."""
    if reading.at_most is None and inputs.deployment is not None and inputs.deployment.replicas > 0:
        return "ScaleDownSuspended", f"The figures of the queue are uncertain ({reading.doubt}): no worker is removed."
    if inputs.scale_in_blocked is not None:
        return inputs.scale_in_blocked.reason, inputs.scale_in_blocked.message
    return Reason.READY, "The number of workers follows the queue."


def _summary(inputs: StatusInputs) -> Iterator[Condition]:
    fault = inputs.deletion_blocker or next(
        (inputs.faults[stage] for stage in ConditionType if stage in inputs.faults), None
    )
    if fault is not None:
        yield Condition(ConditionType.READY, ConditionStatus.FALSE, fault.reason, fault.message)
        state = ConditionType.STALLED if fault.terminal else ConditionType.RECONCILING
        yield Condition(state, ConditionStatus.TRUE, fault.reason, fault.message)
    elif inputs.is_observed and inputs.rollout is not None:
        rollout = inputs.rollout
        yield Condition(ConditionType.READY, ConditionStatus.FALSE, rollout.reason, rollout.message)
        yield Condition(ConditionType.RECONCILING, ConditionStatus.TRUE, rollout.reason, rollout.message)
    elif inputs.is_observed:
        matches = "The workers match the spec." if inputs.migration else "The topology and the workers match the spec."
        yield Condition(ConditionType.READY, ConditionStatus.TRUE, Reason.READY, matches)
        if inputs.migration:
            yield Condition(ConditionType.RECONCILING, ConditionStatus.TRUE, Reason.MIGRATING, inputs.migration)
    else:
        yield Condition(
            ConditionType.RECONCILING, ConditionStatus.TRUE, Reason.PROGRESSING, "The spec is being reconciled."
        )
