"""Checks of the exchanges that a spec names and does not describe: others declare them, the operator only uses them."""

from taskqueue_operator.resource.exchange import ExchangeType
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import DERIVED_SUFFIXES
from taskqueue_operator.resource.taskqueue import TaskQueue

from .conflict import check_not_private
from .objects import Exchange, Topology


def check_other_exchanges(taskqueue: TaskQueue, actual: Topology, *, owner: str) -> None:
    """Check the alternate exchange, and the exchanges of bindings.

    Raises:
        TopologyFault: One does not exist, is that of the TaskQueue itself, or does not fit; nothing must be created.
    """
    alternate = taskqueue.exchange.alternate_exchange
    if alternate is not None:
        _existing(taskqueue, alternate, "spec.exchange.alternateExchange", actual, owner)
    for index, binding in enumerate(taskqueue.spec.bindings or ()):
        if binding.exchange is not None:
            field = f"spec.bindings[{index}]"
            found = _existing(taskqueue, binding.exchange, f"{field}.exchange", actual, owner)
            _check_type(found, field, has_arguments=binding.arguments is not None)


def _existing(taskqueue: TaskQueue, name: str, field: str, actual: Topology, owner: str) -> Exchange:
    if name == taskqueue.exchange_name:
        raise TopologyFault(
            Reason.INVALID_SPEC,
            f'{field} is "{name}", the exchange of this TaskQueue itself. Remove it, or choose another exchange.',
            terminal=True,
        )
    found = actual.exchanges.get(name)
    if name.endswith(DERIVED_SUFFIXES):
        check_not_private(name, found, owner, field=field)
    if found is None:
        raise TopologyFault(
            Reason.EXCHANGE_NOT_FOUND,
            f'Exchange "{name}" of {field} does not exist. Declare it, for example as the exchange of another '
            f"TaskQueue, or correct {field} or spec.broker.vhost.",
        )
    return found


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
