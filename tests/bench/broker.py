"""What the operator asks of RabbitMQ, as RabbitMQ itself sees it."""

from tests.cluster.lane import Cluster
from tests.cluster.loan import BROKER

_HANDLER = "{cowboy_handler, execute, 2}"
"""What every HTTP request passes. Erlang counts the calls of a function for whoever asks, at next to no cost."""


def count_http_requests(cluster: Cluster) -> None:
    """Begin to count, from 0."""
    begin = (
        f"{{module, _}} = code:ensure_loaded(cowboy_handler), 1 = erlang:trace_pattern({_HANDLER}, true, [call_count])."
    )
    _ctl(cluster, "eval", begin)
    _ctl(cluster, "eval", f"erlang:trace_pattern({_HANDLER}, restart, [call_count]).")


def http_requests(cluster: Cluster) -> int:
    """Count HTTP requests since counting began; then counting ends."""
    counted = _ctl(cluster, "eval", f"element(2, erlang:trace_info({_HANDLER}, call_count)).")
    _ctl(cluster, "eval", f"erlang:trace_pattern({_HANDLER}, false, [call_count]).")
    return int(counted)


def amqp_connections(cluster: Cluster, vhost: str) -> int:
    """Count the connections that are open in a vhost."""
    listed = _ctl(cluster, "--quiet", "list_connections", "--no-table-headers", "vhost")
    return listed.split().count(vhost)


def _ctl(cluster: Cluster, *arguments: str) -> str:
    return cluster.kubectl("exec", f"--namespace={BROKER}", "statefulset/rabbitmq", "--", "rabbitmqctl", *arguments)
