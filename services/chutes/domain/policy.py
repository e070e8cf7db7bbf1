"""What the node's settings allow chutes, and give them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.chutes.domain.spec import ChuteSpec
from services.common.errors import FailedPrecondition


@dataclass(frozen=True, slots=True)
class NodePolicy:
    """What the operator decided."""

    allow_privileged: bool = False
    allow_host_network: bool = False
    base_images: Mapping[str, str] = field(default_factory=dict)
    """Image of a light service to what is taken in place of the usual base image."""

    def require_allowed(self, spec: ChuteSpec) -> None:
        """Raises FailedPrecondition if a chute asks for what it must not have on this node."""
        for name, service in spec.services.items():
            requests = f"services.{name}.requests"
            if service.privileged and not self.allow_privileged:
                raise _not_allowed(
                    f"{requests}.privileged", "PRIVILEGED_NOT_ALLOWED", "PARADROP_ALLOW_PRIVILEGED"
                )
            if service.network_mode == "host" and not self.allow_host_network:
                raise _not_allowed(
                    f"{requests}.network-mode", "HOST_NETWORK_NOT_ALLOWED", "PARADROP_ALLOW_HOST_NETWORK"
                )


def _not_allowed(field_name: str, reason: str, setting: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{field_name} is not allowed on this node; leave it out, or have the operator set {setting}=1.",
        reason=reason,
        field=field_name,
        setting=setting,
    )
