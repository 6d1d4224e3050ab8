"""How long the HTTP clients of the tests keep an idle connection."""

from typing import Final

import httpx

KEEP_BRIEFLY: Final = httpx.Limits(keepalive_expiry=1)
"""Well below the 5 s after which RabbitMQ closes an idle connection: no request is written into one that is closing."""
