"""Networks of chutes in a table, for what needs no more than where they are."""

from collections.abc import Iterable

from services.common.identity import Principal
from services.network.domain.errors import chute_not_found, network_not_found
from services.network.domain.wireless import Target


class NetworkTable:
    """A table of networks by chute and by each of their names."""

    def __init__(self) -> None:
        self._targets: dict[str, dict[str, Target]] = {}

    def set(self, chute: str, names: Iterable[str], target: Target) -> None:
        """Adds a network or replaces it."""
        self._targets.setdefault(chute, {}).update(dict.fromkeys(names, target))

    def target(self, _principal: Principal, chute: str, network: str) -> Target:
        """Returns a network; NotFound (CHUTE_NOT_FOUND, NETWORK_NOT_FOUND)."""
        if chute not in self._targets:
            raise chute_not_found(chute)
        if network not in self._targets[chute]:
            raise network_not_found(chute, network)
        return self._targets[chute][network]
