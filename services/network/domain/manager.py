"""Keeps the networks of the node as they shall be: the host's, and those of its chutes."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import structlog

from services.common.errors import DomainError, FailedPrecondition
from services.network.domain.allocation import allocate
from services.network.domain.chute_setup import ChuteSetup, section_keys
from services.network.domain.facts import Facts
from services.network.domain.firewall import Ruleset
from services.network.domain.host_setup import HostSetup, host_keys
from services.network.domain.hostcheck import Document
from services.network.domain.hostplan import LAN, HostPlan, plan_host
from services.network.domain.model import Attachment, Network, Owner, Wanted
from services.network.domain.rules import ruleset
from services.network.domain.sections import Section, Sections
from services.network.domain.store import ChuteRecord, NetworkStore
from services.network.domain.world import World

log = structlog.get_logger()


class NetworkManager:
    """Applies one thing at a time; what it says of itself is what was really applied."""

    def __init__(self, world: World, store: NetworkStore) -> None:
        self._world = world
        self._store = store
        self._sections = Sections()
        self._setup = ChuteSetup(world, self._sections)
        self._host = HostSetup(world, store, self._sections)
        self._turn = asyncio.Lock()
        self._chutes: dict[str, ChuteRecord] = {}
        self._document: Document | None = None
        self._served: frozenset[str] = frozenset()

    @property
    def chutes(self) -> Mapping[str, ChuteRecord]:
        """The chutes by name, with the networks they have."""
        return self._chutes

    @property
    def served_interfaces(self) -> frozenset[str]:
        """Interfaces of the host's own networks on which addresses are given out."""
        return self._served

    def sections(self) -> list[Section]:
        """Returns what was applied, and what not."""
        return list(self._sections.listed())

    async def start(self, document: Document) -> None:
        """Brings everything back that was there before a crash or a reboot, as far as it can be."""
        self._chutes = {record.owner.chute: record for record in await self._store.chutes()}
        self._document = document
        await self.reload()

    async def facts(self) -> Facts:
        """Returns the machine as it is now, with the configuration in force."""
        if self._document is None:
            raise RuntimeError("the manager was not started")
        return await self._world.facts(self._document)

    async def use(self, document: Document) -> None:
        """Puts a host configuration into force, or raises why not; then the one before is in force."""
        async with self._turn:
            before, self._document = self._document, document
            error = await self._load()
            if error is not None:
                self._document = before
                await self._load()
                raise error

    async def restore(self, document: Document) -> None:
        """Puts an earlier host configuration into force again, as far as it can be applied now."""
        async with self._turn:
            self._document = document
            error = await self._load()
            if error is not None:
                log.error("not all of an earlier configuration is in force", reason=error.reason)

    async def reload(self) -> None:
        """Applies everything anew; what cannot be applied is told by its section."""
        async with self._turn:
            await self._load()

    async def _load(self) -> DomainError | None:
        self._sections.begin_load()
        facts = await self.facts()
        plan = plan_host(facts, self._world.lease_dir)
        self._served = frozenset(network.interface for network in plan.networks if network.dhcp)
        networks = list(self._networks())
        await self._sweep(plan, networks, facts)
        error = await self._host.apply(plan, facts)
        for network in networks:
            try:
                await self._setup.bring_up(network, facts, _lan_address(plan))
            except DomainError as failed:
                log.warning("a network cannot be brought up", network=network.title, reason=failed.reason)
        error = await self._firewall(networks, plan, facts) or error
        self._sections.keep(
            {*host_keys(plan, facts), *(key for network in networks for key in section_keys(network))}
        )
        await self._attach_again(networks)
        return error

    async def _firewall(
        self, networks: Sequence[Network], plan: HostPlan, facts: Facts
    ) -> DomainError | None:
        rules = ruleset(networks, plan, facts)
        keys = [key for network in networks for key in section_keys(network) if key[0] == "zone"]
        if facts.managed:
            keys += [key for key in host_keys(plan, facts) if key[0] in ("zone", "defaults")]
        try:
            await self._apply_rules(rules)
        except DomainError as error:
            for key in keys:
                self._sections.failed(key, error)
            return error
        for key in keys:
            self._sections.succeeded(key)
        return None

    async def _apply_rules(self, rules: Ruleset) -> None:
        if not rules.empty:
            await self._world.links.enable_forwarding()
        await self._world.firewall.apply(rules)

    async def _sweep(self, plan: HostPlan, networks: Sequence[Network], facts: Facts) -> None:
        """Removes what of ours belongs to nothing any more."""
        world = self._world
        points = {n.interface for n in networks if n.wanted.type == "wifi-ap"}
        points |= {point.name for point in plan.access_points if point.config}
        served = {n.interface for n in networks if n.wanted.dhcp}
        served |= {network.interface for network in plan.networks if network.dhcp}
        wanted = points | {n.interface for n in networks} | {n.side_door for n in networks if n.side_door}
        wanted |= {network.interface for network in plan.networks}
        try:
            await world.dhcp.keep_only(served)
            await world.access_points.keep_only(points)
            for link in facts.links.values():
                if link.owner is not None and link.name not in wanted:
                    await world.links.remove(link.name)
            if not plan.networks:
                await self._host.release()
        except DomainError as error:
            log.warning("cannot remove what is left over", reason=error.reason, error=str(error))

    def _networks(self) -> Iterable[Network]:
        return (network for record in self._chutes.values() for network in record.networks)

    async def apply_chute(
        self, owner: Owner, wanted: Sequence[Wanted], system_dir: Path | None, validate_only: bool = False
    ) -> Sequence[Network]:
        """Gives a chute exactly these networks, or raises why not; then it has those it had."""
        async with self._turn:
            facts = await self.facts()
            plan = plan_host(facts, self._world.lease_dir)
            given = allocate(owner.chute, wanted, self._networks(), facts, plan.use)
            folder = system_dir or self._world.lease_dir / owner.chute
            given = tuple(
                replace(n, lease_file=str(folder / f"dnsmasq-{n.name}.leases")) if n.wanted.dhcp else n
                for n in given
            )
            if not validate_only:
                await self._replace(owner, given, plan, facts)
            return given

    async def _replace(self, owner: Owner, given: Sequence[Network], plan: HostPlan, facts: Facts) -> None:
        record = self._chutes.get(owner.chute)
        before = record.networks if record else ()
        others = [network for network in self._networks() if network.chute != owner.chute]
        try:
            await self._switch(before, given, others, plan, facts)
            await self._store.set_chute(owner, given)
        except BaseException:
            await self._bring_back(before, given, others, plan, facts)
            raise
        self._chutes[owner.chute] = ChuteRecord(owner, tuple(given))

    async def _bring_back(
        self,
        before: Sequence[Network],
        given: Sequence[Network],
        others: Sequence[Network],
        plan: HostPlan,
        facts: Facts,
    ) -> None:
        """Undoes as much as can be undone, whatever of it fails."""
        steps = [(n, self._setup.take_down(n)) for n in given if n not in before]
        steps += [(n, self._setup.bring_up(n, facts, _lan_address(plan))) for n in before]
        for network, step in steps:
            try:
                await step
            except (DomainError, OSError) as error:
                log.error("cannot bring a network back", network=network.title, error=str(error))
        await self._firewall([*others, *before], plan, facts)
        self._keep_sections(given, before)

    async def _switch(
        self,
        before: Sequence[Network],
        after: Sequence[Network],
        others: Sequence[Network],
        plan: HostPlan,
        facts: Facts,
    ) -> None:
        if not before and not after:
            return
        for network in before:
            if network not in after:
                await self._setup.take_down(network)
        for network in after:
            await self._setup.bring_up(network, facts, _lan_address(plan))
        error = await self._firewall([*others, *after], plan, facts)
        if error is not None:
            raise error
        self._keep_sections(before, after)

    def _keep_sections(self, before: Sequence[Network], after: Sequence[Network]) -> None:
        gone = {key for network in before for key in section_keys(network)}
        gone -= {key for network in after for key in section_keys(network)}
        self._sections.keep({(s.type, s.name, s.owner) for s in self._sections.listed()} - gone)

    async def release_chute(self, chute: str) -> None:
        """Takes a chute's networks away to the last rule and forgets it."""
        record = self._chutes.get(chute)
        if record is None:
            return
        await self.apply_chute(record.owner, (), None)
        async with self._turn:
            await self._store.remove_chute(chute)
            self._chutes.pop(chute, None)
            self._sections.forget(chute)

    async def sync(self, owners: Sequence[Owner], forget_others: bool, busy: Collection[str]) -> None:
        """Takes note of the chutes there are; if so asked, those that are not named lose their networks."""
        named = {owner.chute: owner for owner in owners}
        if forget_others:
            for chute in [chute for chute in self._chutes if chute not in named and chute not in busy]:
                await self.release_chute(chute)
        async with self._turn:
            for chute, owner in named.items():
                record = self._chutes.get(chute)
                if record is None or record.owner != owner:
                    networks = record.networks if record else ()
                    await self._store.set_chute(owner, networks)
                    self._chutes[chute] = ChuteRecord(owner, networks)

    async def attach(self, chute: str, pids: Mapping[str, int]) -> None:
        """Puts the interfaces of a chute into its containers; `pids` has a process for each service."""
        async with self._turn:
            record = self._chutes.get(chute)
            attached: list[Attachment] = []
            for network in record.networks if record else ():
                pid = pids.get(network.wanted.service)
                if pid is None:
                    raise FailedPrecondition(
                        f"{network.name} belongs to {network.wanted.service}, and that service does not run.",
                        reason="SERVICE_NOT_RUNNING",
                        service=network.wanted.service,
                        network=network.name,
                    )
                attached.append(await self._setup.attach(network, pid))
            await self._store.set_attachments(chute, attached)

    async def _attach_again(self, networks: Sequence[Network]) -> None:
        """Puts interfaces back that containers lost with the one below, such as that of a pulled radio."""
        by_title = {(network.chute, network.name): network for network in networks}
        for attachment in await self._store.attachments():
            network = by_title.get((attachment.chute, attachment.name))
            if network is None or network.wanted.type == "wifi-monitor":
                continue
            try:
                same = await self._world.links.process_mark(attachment.pid) == attachment.process_mark
                if same and not await self._world.links.attached(attachment.pid, network.name):
                    await self._setup.attach(network, attachment.pid)
            except DomainError as error:
                log.warning("cannot attach a network again", network=network.title, reason=error.reason)


def _lan_address(plan: HostPlan) -> IPv4Address | None:
    for network in plan.networks:
        if network.name == LAN and network.address:
            return network.address.ip
    return None
