"""The properties of the copy of a dead letter that returns to its queue."""

from typing import Final

from pamqp import frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from taskqueue_operator.dead_letters.destination import DIRECT_REPLY_TO
from taskqueue_operator.dead_letters.letter import Headers
from taskqueue_operator.resource.bounds import DEAD_LETTER_COPY_PROPERTIES_BYTES

from .amqp_library import encodable

PERSISTENT: Final = 2


def copied_properties(original: Basic.Properties, headers: Headers) -> Basic.Properties | None:
    """Return the same properties with other headers; None if they cannot be written, or would arrive changed.

    Without the user, which the broker compares with the connection, and without the expiration: it counted from the
    first publishing.
    """
    try:
        properties = Basic.Properties(
            content_type=original.content_type,
            content_encoding=original.content_encoding,
            headers=encodable(dict(headers)) or None,
            delivery_mode=PERSISTENT,
            priority=original.priority,
            correlation_id=original.correlation_id,
            reply_to=None if original.reply_to == DIRECT_REPLY_TO else original.reply_to,
            message_id=original.message_id,
            timestamp=original.timestamp.replace(microsecond=0) if original.timestamp else None,
            message_type=original.message_type,
            app_id=original.app_id,
        )
        encoded = frame.marshal(ContentHeader(properties=properties), 1)
        _, _, received = frame.unmarshal(encoded)
    except Exception:  # noqa: BLE001  whatever the encoder raises: TypeError, ValueError, struct.error, RecursionError
        return None
    # The library cuts long names of headers, and times in headers to whole seconds.
    is_exact = isinstance(received, ContentHeader) and _values(received.properties) == _values(properties)
    return properties if is_exact and len(encoded) <= DEAD_LETTER_COPY_PROPERTIES_BYTES else None


def _values(properties: Basic.Properties) -> list[object]:
    """Return the values of all properties; an empty text is not sent."""
    return [getattr(properties, name) or None for name in Basic.Properties.flags]
