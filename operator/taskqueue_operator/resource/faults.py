"""Faults: errors of one TaskQueue, with a reason for machines and a message for its user."""

from enum import StrEnum

from .bounds import FAULT_CHARACTERS, MESSAGE_CHARACTERS
from .text import shorten


class Reason(StrEnum):
    """Machine-readable reasons in conditions, Events and metric labels. Part of the API."""

    # No fault.
    READY = "Ready"
    CONNECTED = "Connected"
    RECONCILED = "Reconciled"
    PROGRESSING = "Progressing"
    DELETING = "Deleting"
    MIGRATING = "Migrating"
    # The resource.
    INVALID_SPEC = "InvalidSpec"
    # Credentials and broker.
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_INVALID = "SecretInvalid"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    VHOST_NOT_FOUND = "VhostNotFound"
    PERMISSION_DENIED = "PermissionDenied"
    BROKER_UNREACHABLE = "BrokerUnreachable"
    MANAGEMENT_UNREACHABLE = "ManagementUnreachable"
    BROKER_ALARM = "BrokerAlarm"
    # Topology.
    IMMUTABLE_DRIFT = "ImmutableDrift"
    NAME_CONFLICT = "NameConflict"
    QUEUE_NOT_FOUND = "QueueNotFound"
    EXCHANGE_NOT_FOUND = "ExchangeNotFound"
    TOPOLOGY_REFUSED = "TopologyRefused"
    NOT_EMPTY = "NotEmpty"
    POLICY_CONFLICT = "PolicyConflict"
    POLICY_BUDGET = "PolicyBudget"
    DEAD_LETTER_QUEUE_MISSING = "DeadLetterQueueMissing"
    DEAD_LETTERS_GROWING = "DeadLettersGrowing"
    DEAD_LETTERS_BLOCKED = "DeadLettersBlocked"
    RETRIES_PARKED = "RetriesParked"
    # Workers.
    DEPLOYMENT_CONFLICT = "DeploymentConflict"
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound"
    DEPLOYMENT_NOT_LABELED = "DeploymentNotLabeled"
    TARGET_CONFLICT = "TargetConflict"
    ENVIRONMENT_MISSING = "EnvironmentMissing"
    DEPLOYMENT_UNSAFE = "DeploymentUnsafe"
    FIELD_CONFLICT = "FieldConflict"
    POD_TEMPLATE_INVALID = "PodTemplateInvalid"
    POD_TEMPLATE_FORBIDDEN = "PodTemplateForbidden"
    WORKERS_FAILING = "WorkersFailing"
    QUOTA_EXCEEDED = "QuotaExceeded"
    UNSCHEDULABLE = "Unschedulable"
    WORKERS_STARTING = "WorkersStarting"
    WORKERS_NOT_CONSUMING = "WorkersNotConsuming"
    WORKERS_NOT_REPORTING = "WorkersNotReporting"
    IDLENESS_UNKNOWN = "IdlenessUnknown"
    SCALE_IN_WAITING = "ScaleInWaiting"
    ROLLOUT_STUCK = "RolloutStuck"
    DELETION_COST_CONFLICT = "DeletionCostConflict"
    REPLICAS_CONFLICT = "ReplicasConflict"
    WORKERS_INTERRUPTED = "WorkersInterrupted"
    RETURNED_DELAYED = "ReturnedDelayed"
    OTHER_QUEUES_CONSUMED = "OtherQueuesConsumed"
    QUEUE_FULL = "QueueFull"
    NOTHING_FINISHED = "NothingFinished"
    # Kubernetes itself.
    API_UNAVAILABLE = "ApiUnavailable"
    INTERNAL_ERROR = "InternalError"


def excerpt(text: str) -> str:
    """Return a text from outside as messages quote it: on one line, printable, and no longer than the bound."""
    line = "".join(character if character.isprintable() else " " for character in text[: 2 * MESSAGE_CHARACTERS])
    return shorten(" ".join(line.split()), MESSAGE_CHARACTERS)


class Fault(Exception):
    """An error of one TaskQueue. Its message is written for the user and contains no secret.

    Attributes:
        reason: Machine-readable reason, part of the API.
        message: What is wrong, the field or object at fault, and how to fix it.
        terminal: Whether only a change by the user can fix it; a retry never succeeds.
    """

    def __init__(self, reason: Reason, message: str, *, terminal: bool = False) -> None:
        message = shorten(message, FAULT_CHARACTERS)
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.terminal = terminal


class BrokerFault(Fault):
    """The broker cannot be used: wrong credentials, address or vhost, or a missing permission.

    Attributes:
        cause: What the network or the peer did, for the log of the operator; the message may hide it from the user.
    """

    def __init__(self, reason: Reason, message: str, *, terminal: bool = False, cause: str = "") -> None:
        super().__init__(reason, message, terminal=terminal)
        self.cause = cause


class TopologyFault(Fault):
    """The objects on the broker conflict with those that the TaskQueue declares."""


class WorkersFault(Fault):
    """The worker Deployment cannot be built, or its pods do not start."""


class Conflict(Exception):
    """A conditional write failed because the object changed after it was read."""


class LeadershipLost(Conflict):
    """This process is not the leader, so it must not write; the leader does the work."""
