"""Which types the fields of the management API have, wherever they occur. Another server may send anything."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard

from taskqueue_operator.resource import bounds


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_optional_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_count(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= bounds.COUNT)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_object(value: object) -> bool:
    # RabbitMQ shows an empty object of Erlang as a list in some places.
    return isinstance(value, dict) or value == []


PARSER_ERRORS: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What a parser raises for an answer whose missing or nested fields differ from RabbitMQ's."""
FIELDS: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("name", "source", "destination", "destination_type", "routing_key"), _is_text),
    **dict.fromkeys(("properties_key", "pattern", "apply-to"), _is_text),
    **dict.fromkeys(("type", "state", "policy", "peer_host", "user_provided_name", "protocol"), _is_optional_text),
    **dict.fromkeys(("messages", "messages_ready", "messages_unacknowledged"), _is_count),
    **dict.fromkeys(("durable", "auto_delete", "ack_required"), _is_flag),
    **dict.fromkeys(("arguments", "definition", "channel_details", "connection_details"), _is_object),
    "priority": lambda value: type(value) is int,
}


def is_listing(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a value is a list of objects whose known fields have the types that they have in RabbitMQ."""
    return isinstance(value, list) and all(isinstance(item, dict) and _has_types(item) for item in value)


def _has_types(item: Mapping[str, Any]) -> bool:
    return all(FIELDS[key](value) for key, value in item.items() if key in FIELDS)
