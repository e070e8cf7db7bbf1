"""Stands where the connection to a controller will stand."""

from services.common.errors import NotImplementedYet
from services.node.domain.provision import Provision


class NoController:
    """Connects to nobody, and says so."""

    connected = False

    async def provisioned(self, provision: Provision) -> None:
        """Only the parameters are kept."""

    async def poll(self) -> None:
        """Refuses: there is nobody to ask."""
        raise NotImplementedYet("Connections to controllers are not available in this version of Paradrop.")
