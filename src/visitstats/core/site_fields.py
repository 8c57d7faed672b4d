"""What people write into the fields of a site's record, in the spelling that the record has (`core.sites`)."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from visitstats.core.hosts import meant_host

NETWORKS = ("office_networks", "excluded_networks")


def tidied(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with hosts and networks in their one spelling, each once; a host may be pasted as an address.
    Raises HitRejected "host". What is no network is left for the record to refuse."""
    made = dict(given)
    if "hosts" in made:
        made["hosts"] = hosts_meant(made["hosts"])
    for field in NETWORKS:
        if field in made:
            made[field] = tuple(dict.fromkeys(network_meant(text) for text in made[field]))
    return made


def hosts_meant(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return hosts in their one spelling, each once. Raises HitRejected "host"."""
    return tuple(dict.fromkeys(meant_host(text) for text in hosts))


def network_meant(text: str) -> str:
    """Return a network in its one spelling. What is none stays as it is; so does one with host bits, because
    10.1.2.3/16 may be a misspelt 10.1.2.3."""
    try:
        return str(ip_network(text.strip()))
    except ValueError:
        return text.strip()
