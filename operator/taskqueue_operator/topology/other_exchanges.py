"""Checks of the exchanges that a spec names and does not describe: others declare them, the operator only uses them."""

from collections.abc import Iterator
from dataclasses import replace

from taskqueue_operator.resource.exchange import ExchangeType
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import DERIVED_SUFFIXES
from taskqueue_operator.resource.taskqueue import TaskQueue

from .conflict import check_not_private
from .objects import Exchange, Topology


def check_other_exchanges(taskqueue: TaskQueue, actual: Topology, *, owner: str) -> None:
    """Check the exchanges that exist: the alternate exchange, and those of bindings.

    Raises:
        TopologyFault: One is that of the TaskQueue itself, or does not fit; nothing must be changed.
    """
    for name, field in _named(taskqueue):
        if name == taskqueue.exchange_name:
            raise TopologyFault(
                Reason.INVALID_SPEC,
                f'{field} is "{name}", the exchange of this TaskQueue itself. Remove it, or choose another exchange.',
                terminal=True,
            )
        if name.endswith(DERIVED_SUFFIXES):
            check_not_private(name, actual.exchanges.get(name), owner, field=field)
    for index, binding in enumerate(taskqueue.spec.bindings or ()):
        found = actual.exchanges.get(binding.exchange or "")
        if binding.exchange is not None and found is not None:
            _check_type(found, f"spec.bindings[{index}]", has_arguments=binding.arguments is not None)


def check_existence(taskqueue: TaskQueue, actual: Topology) -> None:
    """Check that these exchanges exist.

    Raises:
        TopologyFault: One does not.
    """
    for name, field in _named(taskqueue):
        if name not in actual.exchanges:
            raise TopologyFault(
                Reason.EXCHANGE_NOT_FOUND,
                f'Exchange "{name}" of {field} does not exist. Declare it, for example as the exchange of another '
                f"TaskQueue, or correct {field} or spec.broker.vhost.",
            )


def without_missing(desired: Topology, actual: Topology) -> Topology:
    """Return the desired topology without the bindings from exchanges that neither exist nor belong to it."""
    known = (desired.exchanges, actual.exchanges)
    missing = {binding for binding in desired.bindings if all(binding.source not in exchanges for exchanges in known)}
    return replace(desired, bindings=desired.bindings - missing) if missing else desired


def _named(taskqueue: TaskQueue) -> Iterator[tuple[str, str]]:
    """Yield each exchange that others declare, and the field that names it."""
    if taskqueue.exchange.alternate_exchange is not None:
        yield taskqueue.exchange.alternate_exchange, "spec.exchange.alternateExchange"
    for index, binding in enumerate(taskqueue.spec.bindings or ()):
        if binding.exchange is not None:
            yield binding.exchange, f"spec.bindings[{index}].exchange"


def _check_type(found: Exchange, field: str, *, has_arguments: bool) -> None:
    type_ = ExchangeType.of(found.type)
    if type_ is None:
        raise _unfit(found, f"the operator does not know. Choose another exchange, or remove {field}.")
    if type_ is ExchangeType.CONSISTENT_HASH:
        raise _unfit(found, f"divides its messages. Describe this exchange in spec.exchange, or remove {field}.")
    if (type_ is ExchangeType.HEADERS) != has_arguments:
        needed = "compares headers. Set" if not has_arguments else "does not compare headers. Remove"
        raise _unfit(found, f"{needed} {field}.arguments.")


def _unfit(found: Exchange, text: str) -> TopologyFault:
    message = f'Exchange "{found.name}" is of type {found.type}, which {text}'
    return TopologyFault(Reason.TOPOLOGY_REFUSED, message, terminal=True)
