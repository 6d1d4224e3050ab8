"""From what is known of a TaskQueue to its conditions: a pure function, with nothing said that is not known.

A finding that is missing keeps what was said before: after a restart the first seconds know little, and to say so
would only stir up those who watch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from taskqueue_operator.resource.conditions import Condition, ConditionStatus, ConditionType
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.scaling.decision import LIMITING_REASONS, Decision, DecisionReason
from taskqueue_operator.scaling.reading import Reading
from taskqueue_operator.workers.api_objects import Deployment

STAGES = (ConditionType.BROKER_REACHABLE, ConditionType.TOPOLOGY_READY, ConditionType.WORKERS_AVAILABLE)
_SAID = {
    ConditionType.BROKER_REACHABLE: (Reason.CONNECTED, "RabbitMQ answers."),
    ConditionType.TOPOLOGY_READY: (Reason.RECONCILED, "Exchange, queue and bindings are as declared."),
    ConditionType.WORKERS_AVAILABLE: (Reason.RECONCILED, "The Deployment is as asked."),
}


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """What findings rest on.

    Attributes:
        settled: Whether all stages have been run for the present generation.
        faults: What stands in the way, by stage; under Ready, what concerns the resource as a whole.
        waiting: What a deletion waits for.
        conclusive: Whether the queue has been read for long enough to say that something is in doubt.
        obstacle: Why more workers would be in vain.
        staying: Why workers that are to go stay for an unknown time, or go without being known to be idle.
        mode: Who decides.
    """

    settled: bool
    faults: dict[ConditionType, Fault]
    waiting: Fault | None = None
    conclusive: bool = False
    deployment: Deployment | None = None
    obstacle: Fault | None = None
    scale_in_blocked: Fault | None = None
    reading: Reading | None = None
    decision: Decision | None = None
    mode: Mode = Mode.AUTO


def findings(known: StatusInputs) -> list[Condition]:
    """Say what is true of a TaskQueue."""
    return [*_stages(known), *_scaling(known), *_summary(known)]


def _stages(known: StatusInputs) -> Iterator[Condition]:
    for stage in STAGES:
        fault = known.faults.get(stage)
        if fault is not None:
            yield Condition(stage, ConditionStatus.FALSE, fault.reason, fault.message)
        elif stage is ConditionType.WORKERS_AVAILABLE and known.deployment is not None and known.settled:
            yield _workers(known.deployment, known.obstacle)
        elif known.settled and not _blocked(stage, known):
            yield Condition(stage, ConditionStatus.TRUE, *_SAID[stage])
        elif known.settled:
            yield Condition(stage, ConditionStatus.UNKNOWN, Reason.PROGRESSING, "An earlier stage is not done.")


def _blocked(stage: ConditionType, known: StatusInputs) -> bool:
    return any(earlier in known.faults for earlier in STAGES[: STAGES.index(stage)])


def _workers(there: Deployment, obstacle: Fault | None) -> Condition:
    type_ = ConditionType.WORKERS_AVAILABLE
    if there.replicas > 0 and there.ready == 0:
        return Condition(type_, ConditionStatus.UNKNOWN, Reason.WORKERS_STARTING, "No worker consumes yet.")
    if not there.replicas:
        return Condition(type_, ConditionStatus.TRUE, Reason.READY, "No worker is needed.")
    why = f": {obstacle.message}" if obstacle is not None and there.ready < there.replicas else ""
    return Condition(
        type_, ConditionStatus.TRUE, Reason.READY, f"{there.ready} of {there.replicas} workers consume{why}."
    )


def _scaling(known: StatusInputs) -> Iterator[Condition]:
    decision, reading = known.decision, known.reading
    if (
        decision is None
        or reading is None
        or not (known.conclusive or decision.reason in {DecisionReason.PAUSED, DecisionReason.FALLBACK})
    ):
        return
    inactive = _inactive(known, decision, reading)
    truth = ConditionStatus.TRUE if inactive is None else ConditionStatus.FALSE
    yield Condition(ConditionType.SCALING_ACTIVE, truth, *(inactive or _active(known, reading)))
    limited = ConditionType.SCALING_LIMITED
    if decision.reason in LIMITING_REASONS:
        yield Condition(limited, ConditionStatus.TRUE, decision.reason, decision.explanation_lines[-1])
    else:
        yield Condition(limited, ConditionStatus.FALSE, "DesiredWithinRange", "The wanted number is within its bounds.")


def _inactive(known: StatusInputs, decision: Decision, reading: Reading) -> tuple[str, str] | None:
    """Say why the number of workers does not follow the queue, if so."""
    if decision.reason is DecisionReason.PAUSED:
        return DecisionReason.PAUSED, "spec.scaling.mode is Paused."
    if known.mode is Mode.DRY_RUN:
        return Mode.DRY_RUN, "spec.scaling.mode is DryRun: decisions are not carried out."
    if decision.reason is DecisionReason.FALLBACK:
        return DecisionReason.FALLBACK, f"The queue is {decision.explanation_lines[0]}."
    if reading.unreadable:
        doubt = f" ({reading.doubt})" if reading.doubt else ""
        return DecisionReason.QUEUE_UNREADABLE, f"The queue cannot be read{doubt}: the number of workers stays."
    return None


def _active(known: StatusInputs, reading: Reading) -> tuple[str, str]:
    """Say how it follows: whole, or for the time being upwards alone."""
    if reading.at_most is None and known.deployment is not None and known.deployment.replicas > 0:
        return "ScaleDownSuspended", f"The queue's figures are in doubt ({reading.doubt}): no worker is removed."
    if known.scale_in_blocked is not None:
        return known.scale_in_blocked.reason, known.scale_in_blocked.message
    return Reason.READY, "The number of workers follows the queue."


def _summary(known: StatusInputs) -> Iterator[Condition]:
    fault = known.waiting or next((known.faults[stage] for stage in ConditionType if stage in known.faults), None)
    if fault is not None:
        yield Condition(ConditionType.READY, ConditionStatus.FALSE, fault.reason, fault.message)
        state = ConditionType.STALLED if fault.terminal else ConditionType.RECONCILING
        yield Condition(state, ConditionStatus.TRUE, fault.reason, fault.message)
    elif known.settled:
        yield Condition(
            ConditionType.READY, ConditionStatus.TRUE, Reason.READY, "The queue is there, and its workers follow it."
        )
    else:
        yield Condition(
            ConditionType.RECONCILING, ConditionStatus.TRUE, Reason.PROGRESSING, "The spec is being worked on."
        )
