"""The pages of chutes: where they are now, told to the gateway."""

from collections.abc import Mapping

from services.chutes.domain.chute import Chute
from services.chutes.domain.ports import ContainerState, WebGate, WebSite


def web_sites(
    installed: Mapping[str, Chute], containers: Mapping[str, ContainerState]
) -> tuple[WebSite, ...]:
    """Returns the sites of all chutes that have pages, by name."""
    chutes = (installed[name] for name in sorted(installed))
    return tuple(site for site in (_site(chute, containers) for chute in chutes) if site is not None)


def _site(chute: Chute, containers: Mapping[str, ContainerState]) -> WebSite | None:
    web = chute.spec.web
    if web is None:
        return None
    container = containers.get(chute.spec.container_name(web.service))
    runs = container is not None and container.status == "running"
    return WebSite(chute.name, web.access, container.address if container and runs else "", web.port)


class WebSites:
    """Tells the gateway whenever something about the sites has changed."""

    def __init__(self, gate: WebGate) -> None:
        self._gate = gate
        self._published: tuple[WebSite, ...] | None = None

    async def follow(
        self, installed: Mapping[str, Chute], containers: Mapping[str, ContainerState] | None
    ) -> None:
        """Publishes what there is now, unless that is what was published last.

        While the engine cannot be asked, chutes are taken to be where they were: most outlive it.
        """
        if containers is None and self._published is not None:
            known = {site.chute: site for site in self._published}
            sites = tuple(known.get(site.chute, site) for site in web_sites(installed, {}))
        else:
            sites = web_sites(installed, containers or {})
        if sites != self._published:
            await self._gate.publish(sites)
            self._published = sites
