"""The requests and connections of the operator, as RabbitMQ counts them."""

from tests.cluster.cluster_lease import BROKER
from tests.cluster.provider import Cluster

_HANDLER = "{cowboy_handler, execute, 2}"
"""The function that every HTTP request calls. Erlang can count the calls of a function at almost no cost."""


def count_http_requests(cluster: Cluster) -> None:
    """Start to count HTTP requests, from 0."""
    start = (
        f"{{module, _}} = code:ensure_loaded(cowboy_handler), 1 = erlang:trace_pattern({_HANDLER}, true, [call_count])."
    )
    _ctl(cluster, "eval", start)
    _ctl(cluster, "eval", f"erlang:trace_pattern({_HANDLER}, restart, [call_count]).")


def http_requests(cluster: Cluster) -> int:
    """Return the number of HTTP requests since `count_http_requests`, and stop to count."""
    counted = _ctl(cluster, "eval", f"element(2, erlang:trace_info({_HANDLER}, call_count)).")
    _ctl(cluster, "eval", f"erlang:trace_pattern({_HANDLER}, false, [call_count]).")
    return int(counted)


def amqp_connections(cluster: Cluster, vhost: str) -> int:
    """Count the open connections of a vhost."""
    listed = _ctl(cluster, "--quiet", "list_connections", "--no-table-headers", "vhost")
    return listed.split().count(vhost)


def _ctl(cluster: Cluster, *arguments: str) -> str:
    return cluster.kubectl("exec", f"--namespace={BROKER}", "statefulset/rabbitmq", "--", "rabbitmqctl", *arguments)
