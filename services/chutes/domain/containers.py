"""What the containers of a chute look like."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.chutes.domain.chute import Chute
from services.chutes.domain.folderport import Folders
from services.chutes.domain.light import USER, light_command
from services.chutes.domain.ports import ContainerPlan
from services.chutes.domain.spec import PortBinding

FEATURES = "audio hostapd-control"
DATA_DIR = "/data/"
SYSTEM_DIR = "/paradrop/"
LOCAL_DOMAIN = "paradrop.io"
HTTP_PORT, HTTPS_PORT = 80, 443


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where chutes reach the node's own interface."""

    port: int = HTTP_PORT
    tls: bool = False

    def url(self, scheme: str, path: str) -> str:
        """Returns an address of the node; `scheme` is "http" or "ws"."""
        usual = HTTPS_PORT if self.tls else HTTP_PORT
        port = "" if self.port == usual else f":{self.port}"
        return f"{scheme}{'s' if self.tls else ''}://{LOCAL_DOMAIN}{port}{path}"


def container_plan(
    chute: Chute,
    service: str,
    token: str,
    folders: Folders,
    node: NodeAddress,
    host_ports: Mapping[str, int] | None = None,
) -> ContainerPlan:
    """Returns the container of one service.

    `host_ports` are the ports the container before it had: one that the engine chose stays the same.
    """
    spec = chute.spec.services[service]
    light = spec.type == "light"
    return ContainerPlan(
        name=chute.spec.container_name(service),
        chute=chute.name,
        service=service,
        image=chute.images[service],
        network=chute.name,
        aliases=[service],
        environment={
            **chute.environment,
            **spec.environment,
            **_node_environment(chute, token, node),
        },
        volumes={
            folders.data(chute.name): (DATA_DIR, "rw"),
            folders.system(chute.name): (SYSTEM_DIR, "ro"),
        },
        ports=[_kept(port, host_ports or {}) for port in port_bindings(chute, service)],
        command=light_command(spec) if light else spec.command,
        user=("root" if spec.as_root else USER) if light else None,
        network_mode=spec.network_mode,
        privileged=spec.privileged,
        memory_limit_bytes=spec.memory_limit_bytes,
        dns=spec.dns,
        low_ports=light and spec.network_mode == "bridge",
    )


def port_bindings(chute: Chute, service: str) -> tuple[PortBinding, ...]:
    """Returns the published ports of a service, its web port included."""
    spec, bindings = chute.spec.services[service], chute.spec.services[service].port_bindings
    if spec.network_mode != "bridge":
        return ()
    web = chute.spec.web
    if web is None or web.service != service:
        return bindings
    web_binding = PortBinding(web.port)
    if any(binding.key == web_binding.key for binding in bindings):
        return bindings
    return (*bindings, web_binding)


def _kept(port: PortBinding, host_ports: Mapping[str, int]) -> PortBinding:
    if port.host_port is not None:
        return port
    return PortBinding(port.container_port, port.protocol, host_ports.get(port.key))


def _node_environment(chute: Chute, token: str, node: NodeAddress) -> dict[str, str]:
    return {
        "PARADROP_CHUTE_NAME": chute.name,
        "PARADROP_CHUTE_VERSION": str(chute.version),
        "PARADROP_FEATURES": FEATURES,
        "PARADROP_ROUTER_ID": "",
        "PARADROP_DATA_DIR": DATA_DIR,
        "PARADROP_SYSTEM_DIR": SYSTEM_DIR,
        "PARADROP_API_URL": node.url("http", "/api"),
        "PARADROP_BASE_URL": node.url("http", f"/api/v1/chutes/{chute.name}"),
        "PARADROP_WS_API_URL": node.url("ws", "/ws"),
        "PARADROP_API_TOKEN": token,
    }
