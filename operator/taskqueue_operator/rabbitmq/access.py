"""What a connection to an endpoint needs: its address and credentials, the network, and whether it may log in now."""

from dataclasses import dataclass, field

from .endpoint import Endpoint
from .login import Login
from .network import Network


@dataclass(frozen=True, slots=True)
class Access:
    """The access to one side of an endpoint, AMQP or management API."""

    endpoint: Endpoint
    network: Network
    login: Login = field(default_factory=Login)

    def for_management(self) -> "Access":
        """Return the access to the management API; it shares the login if username and password are the same."""
        endpoint = self.endpoint
        amqp = (endpoint.username, endpoint.password)
        same = amqp == (endpoint.management_username, endpoint.management_password)
        return Access(endpoint, self.network, self.login if same else Login())
