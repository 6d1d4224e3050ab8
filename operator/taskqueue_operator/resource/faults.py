"""What can stand in the way of a TaskQueue, said so that its user knows the way out."""

from enum import StrEnum


class Reason(StrEnum):
    """Machine-readable reasons in conditions, Events and metric labels. Part of the API."""

    # Nothing is in the way.
    READY = "Ready"
    CONNECTED = "Connected"
    RECONCILED = "Reconciled"
    PROGRESSING = "Progressing"
    DELETING = "Deleting"
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
    # Topology.
    IMMUTABLE_DRIFT = "ImmutableDrift"
    NAME_CONFLICT = "NameConflict"
    QUEUE_NOT_FOUND = "QueueNotFound"
    TOPOLOGY_REFUSED = "TopologyRefused"
    NOT_EMPTY = "NotEmpty"
    # Workers.
    DEPLOYMENT_CONFLICT = "DeploymentConflict"
    FIELD_CONFLICT = "FieldConflict"
    POD_TEMPLATE_INVALID = "PodTemplateInvalid"
    WORKERS_FAILING = "WorkersFailing"
    QUOTA_EXCEEDED = "QuotaExceeded"
    UNSCHEDULABLE = "Unschedulable"
    WORKERS_STARTING = "WorkersStarting"
    WORKERS_NOT_REPORTING = "WorkersNotReporting"
    IDLENESS_UNKNOWN = "IdlenessUnknown"
    SCALE_IN_WAITING = "ScaleInWaiting"
    ROLLOUT_STUCK = "RolloutStuck"
    DELETION_COST_CONFLICT = "DeletionCostConflict"
    # Kubernetes itself.
    API_UNAVAILABLE = "ApiUnavailable"
    INTERNAL_ERROR = "InternalError"


class Fault(Exception):
    """Something stands in the way of one TaskQueue; the message is for its user and holds no secret.

    Attributes:
        reason: For machines.
        message: For people: what is wrong, the field or object at fault, and the way out.
        lasting: True if only a change by the user mends it (a retry alone never would).
    """

    def __init__(self, reason: Reason, message: str, *, terminal: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.terminal = terminal


class BrokerFault(Fault):
    """The broker cannot be used: credentials, address, vhost, permission."""


class TopologyFault(Fault):
    """What is on the broker does not agree with what the TaskQueue declares."""


class WorkersFault(Fault):
    """The Deployment of the workers cannot be made as asked."""


class Conflict(Exception):
    """What was read has changed since, so the conditional write was refused."""


class LeadershipLost(Conflict):
    """This process may not act: it does not lead, or does not any more. Who leads will do what is to be done."""
