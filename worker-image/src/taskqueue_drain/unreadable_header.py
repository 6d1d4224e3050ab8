"""The one header of a message whose AMQP properties the client cannot read (docs/worker-contract.md)."""

from typing import Final

UNREADABLE_HEADER: Final = "x-unreadable-properties"
"""Its value is the bytes of the properties."""
