"""The inequalities of docs/timing.md hold for the constants of operator and worker, and the page shows their values."""

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
import yaml

from taskqueue_drain import consume_settings, drain_lease, worker_protocol
from taskqueue_drain import protocol as commands_of_operator
from taskqueue_drain.aio_pika import connection
from taskqueue_operator.app import exit_deadline
from taskqueue_operator.commands import confirmation, redrive
from taskqueue_operator.control import controller, leader_election, workqueue
from taskqueue_operator.control.observe import (
    consumer_poller,
    observer,
    probe_rounds,
    probe_shares,
    read_health,
    topology_shares,
)
from taskqueue_operator.control.reconcile import finalizer, reconciler
from taskqueue_operator.control.status import blocked_dead_letters, inputs, scale_in_blocked
from taskqueue_operator.drain import consumers, context, protocol, report_requests, sent_command, worker, worker_pool
from taskqueue_operator.rabbitmq import control_channel, handshake, network, probe, reconnect, vhost_reader
from taskqueue_operator.resource import worker as worker_spec
from taskqueue_operator.scaling import reading
from taskqueue_operator.topology import consumer_timeout
from taskqueue_operator.workers import deployment
from taskqueue_worker import bounds as worker_bounds
from taskqueue_worker import delivery, runner, settings

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/timing.md").read_text()
GOLDEN: Final = ROOT / "tests/unit/workers/golden/smallest.deployment.yaml"
TOPOLOGY: Final = (ROOT / "docs/topology.md").read_text()
CHART: Final = (ROOT / "charts/taskqueue-operator/templates/deployment.yaml").read_text()

RULES: Final = (
    # Readings.
    "SWEEP_TIMEOUT_SECONDS < SWEEP_PERIOD_SECONDS",
    "SWEEP_PERIOD_SECONDS + SWEEP_TIMEOUT_SECONDS <= SWEEP_GAP_LIMIT",
    "SWEEP_GAP_LIMIT < 2 * SWEEP_PERIOD_SECONDS",
    "SWEEP_GAP_LIMIT < READING_WINDOW",
    "2 * STATISTICS_INTERVAL < READING_WINDOW",
    "QUEUE_ELECTION < READING_WINDOW",
    "READING_WINDOW + SWEEP_PERIOD_SECONDS < FIRST_READING",
    "PROBE_PERIOD_SECONDS + ROUND_TIMEOUT_SECONDS < PROBE_MAX_AGE",
    "PROMPT_SECONDS < ZERO_PROBE_PERIOD_SECONDS",
    "PROBE_PERIOD_SECONDS <= RECOVERY_SECONDS",
    "ROUND_TIMEOUT_SECONDS < SILENCE_TIMEOUT_SECONDS < 2 * HEARTBEAT_SECONDS",
    "KEEPALIVE_SECONDS < IDLE_CONNECTION_LIMIT",
    "SWEEP_PERIOD_SECONDS / 2 < KEEPALIVE_SECONDS",
    # Drift.
    "TOPOLOGY_PERIOD_SECONDS < DRIFT_LIMIT",
    "TOPOLOGY_PERIOD_SECONDS < LONGEST_TOPOLOGY_PERIOD_SECONDS",
    # Drain.
    "CANCEL_TIMEOUT_SECONDS < ANSWER_TIMEOUT",
    "CANCEL_TIMEOUT_SECONDS < CANCEL_LIMIT",
    "RENEWAL_PERIOD + ANSWER_TIMEOUT < LEASE_SECONDS - ANSWER_TIMEOUT",
    "LEASE_SECONDS <= MAX_LEASE_SECONDS <= MEMORY_SECONDS",
    "DRAINING_REPORT_PERIOD_SECONDS < REPORT_PERIOD_SECONDS < ALL_REPORTED_WITHIN < REPORT_TIMEOUT",
    "2 * REPORT_PERIOD_SECONDS < REPORT_TIMEOUT",
    "ALL_REPORTED_WITHIN < REPORTED_AFTER",
    "SWEEP_PERIOD_SECONDS < BLOCKED_FOR",
    "2 * ANSWER_GATHER_WINDOW < ANSWER_TIMEOUT",
    "REQUEST_AGE < REPORT_MAX_AGE",
    "REPORT_MAX_AGE < ANSWER_TIMEOUT",
    "READINESS_PERIOD + READINESS_TIMEOUT <= READINESS_LAG",
    # Plain workers.
    "STATISTICS_INTERVAL < MIN_SNAPSHOT_GAP < POLL_PERIOD_SECONDS",
    "PROBE_PERIOD_SECONDS < SNAPSHOT_MAX_AGE",
    "PROBE_PERIOD_SECONDS < USE_SECONDS",
    # Leadership.
    "RENEW_PERIOD + 2 * (REQUEST_TIMEOUT + RETRY_PERIOD) < RENEW_DEADLINE",
    "RENEW_DEADLINE < LEASE_DURATION",
    "SEND_TIMEOUT_SECONDS < LEASE_DURATION - RENEW_DEADLINE",
    "EXIT_SECONDS < OPERATOR_GRACE_PERIOD",
    # Tasks.
    "STOP_GRACE_SECONDS + SETTLE_TIMEOUT_SECONDS + CLOSE_TIMEOUT_SECONDS < GRACE_MARGIN_SECONDS",
    "SIGTERM_ACK_TIMEOUT + ANSWER_TIMEOUT < GRACE_MARGIN_SECONDS",
    "STOP_GRACE_SECONDS + SETTLE_TIMEOUT_SECONDS < HOLD_MARGIN_SECONDS",
    "HOLD_MARGIN_SECONDS == CONSUMER_TIMEOUT_MARGIN_SECONDS",
    "WORKER_TASK_TIMEOUT == TASK_TIMEOUT",
    "2 * TASK_TIMEOUT + HOLD_MARGIN_SECONDS <= DEFAULT_SECONDS",
    # Dead letters.
    "PASS_SECONDS < DEFAULT_SECONDS",
    "CONFIRM_SECONDS < DEFAULT_SECONDS",
    # Retries.
    "MAX_BACKOFF_SECONDS < BACKOFF_RESET_SECONDS",
    "CONNECT_TIMEOUT_SECONDS + LONGEST_BACKOFF_SECONDS < BROKER_OUTAGE_GRACE",
    "DELETION_RETRY_SECONDS < BROKER_OUTAGE_GRACE",
    "READING_WINDOW + SWEEP_PERIOD_SECONDS + STATISTICS_INTERVAL < MARKER_MARGIN_SECONDS",
    "DECLARED_SECONDS + LONGEST_DELAY_SECONDS + MARKER_MARGIN_SECONDS < DELAYED_EXPIRES_SECONDS",
)
"""Expressions of Python; a name is a constant's. Each has a row on the page that says what breaks without it."""

CONSTANTS: Final[dict[str, ModuleType]] = {
    "ALL_REPORTED_WITHIN": context,
    "ANSWER_GATHER_WINDOW": context,
    "ANSWER_TIMEOUT": sent_command,
    "BACKOFF_RESET_SECONDS": controller,
    "BLOCKED_FOR": blocked_dead_letters,
    "BROKER_OUTAGE_GRACE": finalizer,
    "CANCEL_TIMEOUT_SECONDS": worker_protocol,
    "CLOSE_TIMEOUT_SECONDS": connection,
    "CONFIRM_SECONDS": confirmation,
    "CONNECT_TIMEOUT_SECONDS": reconnect,
    "CONSUMER_TIMEOUT_MARGIN_SECONDS": consume_settings,
    "DECLARED_SECONDS": worker_bounds,
    "DEFAULT_SECONDS": consumer_timeout,
    "DELAYED_EXPIRES_SECONDS": worker_bounds,
    "DELETION_RETRY_SECONDS": reconciler,
    "DRAINING_REPORT_PERIOD_SECONDS": worker_protocol,
    "FIRST_READING": inputs,
    "GRACE_MARGIN_SECONDS": deployment,
    "HEARTBEAT_SECONDS": handshake,
    "HOLD_MARGIN_SECONDS": worker_spec,
    "KEEPALIVE_SECONDS": network,
    "LEASE_DURATION": leader_election,
    "LEASE_SECONDS": protocol,
    "LONGEST_BACKOFF_SECONDS": reconnect,
    "LONGEST_DELAY_SECONDS": worker_bounds,
    "LONGEST_TOPOLOGY_PERIOD_SECONDS": topology_shares,
    "MARKER_MARGIN_SECONDS": worker_bounds,
    "MAX_BACKOFF_SECONDS": workqueue,
    "MAX_LEASE_SECONDS": commands_of_operator,
    "MEMORY_SECONDS": drain_lease,
    "MIN_SNAPSHOT_GAP": consumers,
    "PASS_SECONDS": redrive,
    "POLL_PERIOD_SECONDS": consumer_poller,
    "PROBE_MAX_AGE": reading,
    "PROBE_PERIOD_SECONDS": probe_rounds,
    "PROMPT_SECONDS": probe,
    "READINESS_LAG": worker,
    "READING_WINDOW": reading,
    "RECOVERY_SECONDS": read_health,
    "RENEWAL_PERIOD": sent_command,
    "RENEW_DEADLINE": leader_election,
    "RENEW_PERIOD": leader_election,
    "REPORTED_AFTER": scale_in_blocked,
    "REPORT_MAX_AGE": report_requests,
    "REQUEST_AGE": report_requests,
    "REPORT_PERIOD_SECONDS": worker_protocol,
    "REPORT_TIMEOUT": worker,
    "REQUEST_TIMEOUT": leader_election,
    "RETRY_PERIOD": leader_election,
    "ROUND_TIMEOUT_SECONDS": probe,
    "SEND_TIMEOUT_SECONDS": control_channel,
    "SETTLE_TIMEOUT_SECONDS": delivery,
    "SIGTERM_ACK_TIMEOUT": worker_pool,
    "SILENCE_TIMEOUT_SECONDS": reconnect,
    "SNAPSHOT_MAX_AGE": consumers,
    "STOP_GRACE_SECONDS": runner,
    "SWEEP_GAP_LIMIT": reading,
    "SWEEP_PERIOD_SECONDS": observer,
    "SWEEP_TIMEOUT_SECONDS": vhost_reader,
    "TOPOLOGY_PERIOD_SECONDS": topology_shares,
    "USE_SECONDS": consumer_poller,
    "ZERO_PROBE_PERIOD_SECONDS": probe_shares,
}
"""The module of each constant; if several modules have a constant of that name, the rules are about this one."""

RABBITMQ: Final = {
    "CANCEL_LIMIT": 28.0,
    "IDLE_CONNECTION_LIMIT": 5.0,
    "QUEUE_ELECTION": 10.0,
    "STATISTICS_INTERVAL": 5.0,
}
"""What RabbitMQ takes or allows: measured, or its documented default."""


def seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def elsewhere() -> dict[str, float]:
    """Read what is no constant of a module: fields of manifests, of models and of kopf's settings."""
    pod = yaml.safe_load(GOLDEN.read_text())["spec"]["template"]["spec"]
    readiness = pod["containers"][0]["readinessProbe"]
    least = {"TASKQUEUE_QUEUES": "thumbnails", "RABBITMQ_URL": "amqp://localhost"}
    return {
        "DRIFT_LIMIT": float(*re.findall(r"within (\d+) s,\s+with an Event `TopologyRepaired`", TOPOLOGY)),
        "EXIT_SECONDS": seconds(exit_deadline.EXIT_SECONDS),
        "OPERATOR_GRACE_PERIOD": float(*re.findall(r"terminationGracePeriodSeconds: (\d+)", CHART)),
        "READINESS_PERIOD": float(readiness["periodSeconds"]),
        "READINESS_TIMEOUT": float(readiness["timeoutSeconds"]),
        "TASK_TIMEOUT": float(worker_spec.Worker.model_fields["task_timeout_seconds"].default),
        "WORKER_TASK_TIMEOUT": float(settings.Settings.from_environment(least).consume.task_timeout_seconds),
    }


@cache
def values() -> dict[str, float]:
    """Give every name of the rules its seconds."""
    return {name: seconds(getattr(module, name)) for name, module in CONSTANTS.items()} | elsewhere() | RABBITMQ


def names(rule: str) -> list[str]:
    return re.findall(r"[A-Z_]+", rule)


def rows(cells: str) -> Iterator[re.Match[str]]:
    """Find the rows of the page whose first cells match."""
    return re.finditer(rf"^\| {cells} \| \S.* \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("rule", RULES)
def test_the_inequality_holds(rule: str) -> None:
    assert eval(rule, {"__builtins__": {}}, values())  # noqa: S307  expressions of this file


def test_the_page_has_every_inequality_with_its_values() -> None:
    shown = {rule: re.sub("[A-Z_]+", lambda name: f"{values()[name[0]]:g}", rule) for rule in RULES}
    assert {row[1]: row[2] for row in rows(r"`([^`|]*[<=][^`|]*)` \| ([^|]+)")} == shown


def test_the_page_has_every_constant_with_its_value_and_module() -> None:
    modules = {name: str(module.__file__) for name, module in CONSTANTS.items()}
    shown = {row[1]: (float(row[2]), row[3]) for row in rows(r"`([A-Z_]+)` \| ([\d.]+) s \| ([^|]+)")}
    assert {name: value for name, (value, _) in shown.items()} == values()
    assert [name for name in modules if not modules[name].endswith(shown[name][1].strip("`").removeprefix("..."))] == []


def test_every_constant_is_in_an_inequality() -> None:
    assert {name for rule in RULES for name in names(rule)} == set(values())
