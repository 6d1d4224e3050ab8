"""Which hosts the operator contacts as brokers.

The Secret of a tenant names the host, and the operator connects from its own place in the network. So the platform team
decides which hosts are brokers. Without an entry for them, the operator never contacts itself or link-local services.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

ANY: Final = "*"
"""Entry for every host name."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


class ForbiddenHostError(OSError):
    """A host may not be contacted as a broker."""


class BrokerHosts:
    """The hosts that may be contacted.

    Args:
        entries: Host names such as `rabbitmq.shop.svc`, `*.mq.example.com` for all names below a domain, `*` for all
            names, or networks such as `10.0.0.0/8`. Without entries, every host may be contacted. Loopback,
            link-local, multicast and unspecified addresses always need an entry with their network.

    Raises:
        ValueError: An entry is neither a name nor a network.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._domains: list[str] = []
        self._networks = []
        for entry in entries:
            try:
                self._networks.append(ip_network(entry))
            except ValueError:
                self._add_name(entry.lower().rstrip("."))
        self._has_entries = bool(self._names or self._domains or self._networks)
        self._any_name = ANY in self._names or not self._has_entries

    def _add_name(self, name: str) -> None:
        domain = name.removeprefix("*.")
        if "/" in name or ":" in name or ("*" in domain and name != ANY):
            raise ValueError(f"{name!r} is neither a host name nor a network.")
        if domain != name:
            self._domains.append(f".{domain}")
        else:
            self._names.add(name)

    def names(self, host: str) -> bool:
        """Return whether an entry names this host, or every host."""
        return self._has_entries and (self._allows_name(host) or self._in_networks(host))

    def allowed(self, host: str, addresses: Sequence[str]) -> Sequence[str]:
        """Return those addresses of a host that may be contacted, in the same order.

        Args:
            host: Name of the host, or its address.
            addresses: Addresses to which the name resolves.

        Raises:
            ForbiddenHostError: None of them may be contacted.
        """
        name_allowed = self._allows_name(host)
        allowed = [address for address in addresses if self._allows_address(address, name_allowed=name_allowed)]
        if not allowed:
            raise ForbiddenHostError(host)
        return allowed

    def _allows_name(self, host: str) -> bool:
        name = host.lower().rstrip(".")
        return self._any_name or name in self._names or name.endswith(tuple(self._domains))

    def _allows_address(self, address: str, *, name_allowed: bool) -> bool:
        return self._in_networks(address) or (name_allowed and not _is_internal(_parse(address)))

    def _in_networks(self, host: str) -> bool:
        try:
            address = _parse(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


ANYWHERE: Final = BrokerHosts([ANY, "0.0.0.0/0", "::/0"])


def _parse(address: str) -> IPv4Address | IPv6Address:
    # Without the zone of a link-local address, such as %eth0.
    return _embedded(ip_address(address.partition("%")[0]))


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, or else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_internal(address: IPv4Address | IPv6Address) -> bool:
    return address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
