"""RabbitMQ accepts any name of a queue and of an exchange; the AMQP client would refuse some of them."""

import re
from typing import Final

from pamqp import constants

ANY_NAME: Final = re.compile(r".*", re.DOTALL)


def accept_any_name() -> None:
    """Replace the check of the client, in this process. The broker checks names itself."""
    constants.DOMAIN_REGEX.update({"queue-name": ANY_NAME, "exchange-name": ANY_NAME})
