"""The part of the spec that divides the messages of a queue."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from .bounds import CONSUMED_QUEUES, HASH_HEADER_CHARACTERS
from .fields import Model, rule, rules

ROUTING_KEY: Final = "RoutingKey"
"""Value of hashOn; every other one is the name of a header."""


class Shards(Model):
    """Several queues instead of one, among which the messages are divided."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"self.hashOn == '{ROUTING_KEY}' || !self.hashOn.matches('^(?i)routing[-_. ]?key$')",
                f"is the name of a header that looks like a mistyped {ROUTING_KEY}. Write hashOn: {ROUTING_KEY}, or "
                "choose another header.",
                path=".hashOn",
                value="self.hashOn",
            ),
        )
    )

    count: Annotated[int, Field(ge=2, le=CONSUMED_QUEUES)] = Field(
        description="Number of queues. Each worker consumes all of them. It can become larger; then some keys move to "
        "another queue. It cannot become smaller once the queues exist."
    )
    hash_on: Annotated[str, Field(min_length=1, max_length=HASH_HEADER_CHARACTERS, pattern="^[!-~]([ -~]*[!-~])?$")] = (
        Field(
            ROUTING_KEY,
            description="What selects the queue of a message: RoutingKey, or the name of a header, such as tenant. "
            "Messages with equal values go to one queue; those without the header go to one queue too. Cannot change "
            "once the queues exist.",
        )
    )

    @property
    def header(self) -> str | None:
        """The header that selects the queue of a message; None if its routing key does."""
        return None if self.hash_on == ROUTING_KEY else self.hash_on
