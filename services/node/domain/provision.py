"""Which controller the node belongs to."""

import time
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog

from services.common.errors import FailedPrecondition, InvalidArgument
from services.node.domain.trouble import Trouble

log = structlog.get_logger()

LINK_SCHEMES = ("grpc", "grpcs")
REPORT_SCHEMES = ("http", "https")
MAX_TEXT_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Provision:
    """The controller, and what proves to it who the node is."""

    pdserver: str
    """Address: grpc or grpcs for the link, http or https for the reports of Paradrop 0.13."""
    wamp_router: str
    router_id: str | None = None
    apitoken: str | None = field(default=None, repr=False)
    since_s: float = field(default=0.0, compare=False)
    """When the node was tied to it, in seconds since 1970."""
    told: dict[str, Any] = field(default_factory=dict)
    """What the controller told when the node provisioned itself: "router" and "batch"."""

    @property
    def provisioned(self) -> bool:
        """Whether id and token are both set."""
        return bool(self.router_id and self.apitoken)


class ProvisionFile(Protocol):
    """Where the provision is kept."""

    async def save(self, provision: Provision) -> None:
        """Keeps it; when this returns it survives power loss."""


class Controller(Protocol):
    """Whoever keeps the connection to the controller."""

    @property
    def connected(self) -> bool:
        """Whether the connection stands, or the last call succeeded."""

    @property
    def trouble(self) -> Trouble | None:
        """Why there is no connection, as far as is known."""

    async def provisioned(self, provision: Provision) -> None:
        """Turns to another controller and waits for the connection, but not for long."""

    async def poll(self) -> None:
        """Asks the controller at once whether there are changes."""


class Provisioning:
    """Holds the present provision and tells whoever keeps the connection when it changes."""

    def __init__(
        self, file: ProvisionFile, present: Provision, defaults: Provision, controller: Controller
    ) -> None:
        self._file = file
        self._defaults = defaults
        self._controller = controller
        self.present = present

    @property
    def connected(self) -> bool:
        """Whether the controller is connected."""
        return self.present.provisioned and self._controller.connected

    @property
    def trouble(self) -> Trouble | None:
        """Why the controller is not connected; None if it is, or if that is not known yet."""
        return self._controller.trouble if self.present.provisioned else None

    async def poll(self) -> None:
        """Asks the controller at once whether there are changes."""
        if not self.present.provisioned:
            raise FailedPrecondition(
                "The node belongs to no controller; provision it with POST /api/v1/config/provision.",
                reason="NOT_PROVISIONED",
            )
        await self._controller.poll()

    async def set(self, router_id: str, apitoken: str, pdserver: str, wamp_router: str) -> bool:
        """Ties the node to a controller; False if nothing differs from the present provision."""
        wanted = Provision(
            pdserver=_address("pdserver", pdserver or self._defaults.pdserver),
            wamp_router=_address("wampRouter", wamp_router or self._defaults.wamp_router),
            router_id=_required("routerId", router_id),
            apitoken=_required("apitoken", apitoken),
            since_s=time.time(),
        )
        if wanted == replace(self.present, told={}):
            return False
        await self._file.save(wanted)
        self.present = wanted
        await self._controller.provisioned(wanted)
        return True

    async def forget(self) -> None:
        """Unties the node from its controller."""
        log.warning("the node belongs to no controller any more", controller=self.present.pdserver)
        await self._file.save(self._defaults)
        self.present = self._defaults
        await self._controller.provisioned(self._defaults)

    async def remember(self, provision: Provision) -> None:
        """Keeps what a controller answered to a node that provisioned itself."""
        await self._file.save(provision)
        self.present = provision
        await self._controller.provisioned(provision)


def _required(name: str, text: str) -> str:
    if not text or len(text) > MAX_TEXT_CHARACTERS or not text.isprintable() or " " in text:
        raise InvalidArgument(
            f"{name} must be the text that the controller shows for this node.",
            reason="PROVISION_INVALID",
            field=name,
        )
    return text


def _address(name: str, text: str) -> str:
    schemes = (*LINK_SCHEMES, *REPORT_SCHEMES) if name == "pdserver" else ("ws", "wss")
    try:
        parts = urlsplit(text)
        good = parts.scheme in schemes and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text or len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidArgument(
            f"{name} must be an address that begins with {', '.join(f'{s}://' for s in schemes)}.",
            reason="PROVISION_INVALID",
            field=name,
        )
    return text
