"""Writes a ruleset in the words of nftables' JSON interface (libnftables-json)."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import Any

from services.network.domain.firewall import PortRule, Rule, Ruleset, Verdict, Zone

TABLE = "paradrop"
FAMILY = "inet"

Words = dict[str, Any]

_CHAINS = (
    ("input", "filter", "input", 0),
    ("forward", "filter", "forward", 0),
    ("prerouting", "nat", "prerouting", -100),
    ("postrouting", "nat", "postrouting", 100),
)


def commands(ruleset: Ruleset) -> list[Words]:
    """Returns the transaction that puts a ruleset in place of what there is."""
    table = {"table": {"family": FAMILY, "name": TABLE}}
    # Deleting what is absent is an error, adding what is there is none.
    fresh: list[Words] = [{"add": table}, {"delete": table}]
    if ruleset.empty:
        return fresh
    fresh.append({"add": table})
    for name, kind, hook, priority in _CHAINS:
        chain = {"family": FAMILY, "table": TABLE, "name": name, "type": kind, "hook": hook}
        fresh.append({"add": {"chain": {**chain, "prio": priority, "policy": "accept"}}})
    for chain_name, rules in (
        ("input", _input(ruleset)),
        ("forward", _forward(ruleset)),
        ("prerouting", _prerouting(ruleset)),
        ("postrouting", _postrouting(ruleset)),
    ):
        fresh += [_rule(FAMILY, TABLE, chain_name, expressions) for expressions in rules]
    return fresh


def docker_commands(ruleset: Ruleset, handles: Sequence[int]) -> list[Words]:
    """Returns what lets our packets pass Docker's own chain; `handles` are the rules of ours there now."""
    place = {"family": "ip", "table": "filter", "chain": "DOCKER-USER"}
    batch: list[Words] = [{"delete": {"rule": {**place, "handle": handle}}} for handle in handles]
    pairs = list(ruleset.forward)
    if ruleset.uplink:
        pairs += [(zone.interface, ruleset.uplink) for zone in ruleset.zones if zone.isolated]
    for src, dest in pairs:
        for here, there, state in ((src, dest, None), (dest, src, ["established", "related"])):
            match = [_iif(here), _oif(there), *([_ct_state(state)] if state else [])]
            expressions = [*match, {"accept": None}]
            batch.append({"insert": {"rule": {**place, "expr": expressions, "comment": TABLE}}})
    for zone in ruleset.zones:
        if zone.side_door:
            expressions = [_ct_status_dnat(), _oif(zone.side_door), {"accept": None}]
            batch.append({"insert": {"rule": {**place, "expr": expressions, "comment": TABLE}}})
    return batch


def _rule(family: str, table: str, chain: str, expressions: Sequence[Words]) -> Words:
    return {"add": {"rule": {"family": family, "table": table, "chain": chain, "expr": list(expressions)}}}


def _input(ruleset: Ruleset) -> Iterator[list[Words]]:
    yield [_ct_state(["established", "related"]), {"accept": None}]
    yield [_iif("lo"), {"accept": None}]
    for rule in ruleset.rules:
        if rule.dest == "":
            yield [*_matches(rule), _verdict(rule.verdict)]
    for zone in ruleset.zones:
        for protocol, port in zone.services:
            yield [_iif(zone.interface), _port(protocol, "dport", port), {"accept": None}]
        if zone.input != "ACCEPT":
            for interface in _interfaces(zone):
                yield [_iif(interface), _verdict(zone.input)]


def _forward(ruleset: Ruleset) -> Iterator[list[Words]]:
    yield [_ct_state(["established", "related"]), {"accept": None}]
    for zone in ruleset.zones:
        if zone.side_door:
            yield [_ct_status_dnat(), _oif(zone.side_door), {"accept": None}]
    for rule in ruleset.rules:
        if rule.dest != "":
            yield [*_matches(rule), _verdict(rule.verdict)]
    for src, dest in ruleset.forward:
        yield [_iif(src), _oif(dest), {"accept": None}]
    for zone in ruleset.zones:
        yield [_iif(zone.interface), _oif(zone.interface), {"accept": None}]
        if zone.isolated and ruleset.uplink:
            yield [_iif(zone.interface), _oif(ruleset.uplink), {"accept": None}]
    for zone in ruleset.zones:
        if zone.isolated:
            for interface in _interfaces(zone):
                yield [_iif(interface), {"drop": None}]
                yield [_oif(interface), {"drop": None}]
    shared = [zone.interface for zone in ruleset.zones if not zone.isolated]
    if len(shared) > 1:
        # Between networks of the host, only what the configuration forwards; elsewhere others decide.
        yield [_iif({"set": shared}), _oif({"set": shared}), {"drop": None}]


def _prerouting(ruleset: Ruleset) -> Iterator[list[Words]]:
    for zone in ruleset.zones:
        for rule in zone.ports:
            yield [*_arriving(ruleset), *_redirect(rule)]


def _arriving(ruleset: Ruleset) -> list[Words]:
    # Only what is addressed to the node itself.
    to_us = _match({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
    return [_iif(ruleset.uplink), to_us] if ruleset.uplink else [to_us]


def _redirect(rule: PortRule) -> list[Words]:
    target = {"family": "ip", "addr": str(rule.to_address), "port": rule.to_port}
    return [_port(rule.protocol, "dport", rule.port), {"dnat": target}]


def _postrouting(ruleset: Ruleset) -> Iterator[list[Words]]:
    for zone in ruleset.zones:
        if zone.side_door:
            # The chute's default route leads elsewhere; its answers have to come back through the node.
            yield [_ct_status_dnat(), _oif(zone.side_door), {"masquerade": None}]
    if ruleset.uplink and ruleset.masquerade:
        sources = {"set": [_prefix(network) for network in ruleset.masquerade]}
        yield [
            _match({"payload": {"protocol": "ip", "field": "saddr"}}, sources),
            _oif(ruleset.uplink),
            {"masquerade": None},
        ]


def _interfaces(zone: Zone) -> list[str]:
    return [zone.interface, *([zone.side_door] if zone.side_door else [])]


def _matches(rule: Rule) -> Iterator[Words]:
    if rule.src:
        yield _iif(rule.src)
    if rule.dest:
        yield _oif(rule.dest)
    for network, field in ((rule.src_network, "saddr"), (rule.dest_network, "daddr")):
        if network is not None:
            yield _match({"payload": {"protocol": "ip", "field": field}}, _prefix(network))
    if rule.src_mac:
        yield _match({"payload": {"protocol": "ether", "field": "saddr"}}, rule.src_mac)
    if rule.protocol and rule.src_ports is None and rule.dest_ports is None:
        yield _match({"meta": {"key": "l4proto"}}, rule.protocol)
    for ports, field in ((rule.src_ports, "sport"), (rule.dest_ports, "dport")):
        if ports is not None and rule.protocol:
            yield _port(rule.protocol, field, ports[0] if ports[0] == ports[1] else {"range": list(ports)})


def _verdict(verdict: Verdict) -> Words:
    return (
        {"reject": {"type": "icmpx", "expr": "port-unreachable"}}
        if verdict == "REJECT"
        else {verdict.lower(): None}
    )


def _prefix(network: IPv4Network) -> Any:
    if network.prefixlen == 32:
        return str(network.network_address)
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def _match(left: Words, right: Any, operator: str = "==") -> Words:
    return {"match": {"op": operator, "left": left, "right": right}}


def _iif(name: Any) -> Words:
    return _match({"meta": {"key": "iifname"}}, name)


def _oif(name: Any) -> Words:
    return _match({"meta": {"key": "oifname"}}, name)


def _port(protocol: str, field: str, port: Any) -> Words:
    return _match({"payload": {"protocol": protocol, "field": field}}, port)


def _ct_state(states: Sequence[str]) -> Words:
    return _match({"ct": {"key": "state"}}, list(states), "in")


def _ct_status_dnat() -> Words:
    return _match({"ct": {"key": "status"}}, "dnat", "in")
