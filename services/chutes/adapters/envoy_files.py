"""Tells Envoy where the pages of chutes are, through files that it watches (its file-based xDS).

One file has a cluster for each chute whose pages can be reached (CDS), the other the routes (RDS). The
listener that uses them is the gateway's; it keeps away from chutes what is the node's own business.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.chutes.domain.ports import WebSite
from services.common.files import READABLE, write_atomically
from services.common.settings import WEB_DOMAIN

CLUSTERS, ROUTES = "clusters.json", "routes.json"
ROUTE_CONFIG = "chutes"
CONNECT_TIMEOUT = "3s"
IDLE_TIMEOUT = "3600s"
"""For a WebSocket or a stream on which nothing happens."""
KEPT_TIMEOUT = "0.5s"
"""How long a connection to a chute is kept for the next request: long enough for the parts of a page, and
shorter than what servers wait. A request that meets the end of a connection would be lost."""
_ASKED_AGAIN = {
    "retry_on": "reset",
    "num_retries": 1,
    # Whether a server that ended the connection has acted on a request is unknown; these do no harm twice.
    "retriable_request_headers": [
        {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD|OPTIONS"}}}
    ],
}

_TYPE = "type.googleapis.com/envoy."
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_AUTH = "envoy.filters.http.ext_authz"
_NO_AUTH = {
    _AUTH: {"@type": f"{_TYPE}extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}
}
_USERS = {
    _AUTH: {
        "@type": f"{_TYPE}extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "check_settings": {"context_extensions": {"role": "user"}},
    }
}


class EnvoyFiles:
    """`services.chutes.domain.ports.WebGate` for the node's Envoy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version = 0

    async def publish(self, sites: Sequence[WebSite]) -> None:
        """Lets these be reached, and no others."""
        self._version += 1
        await asyncio.to_thread(self._write, sites, str(self._version))

    def _write(self, sites: Sequence[WebSite], version: str) -> None:
        # Clusters first: a route that leads nowhere yet would be an error page.
        for name, resources in ((CLUSTERS, clusters(sites)), (ROUTES, [routes(sites)])):
            response = {"version_info": version, "resources": resources}
            # The folder is private already, or shared with a gateway that is another user.
            write_atomically(self._folder / name, json.dumps(response).encode(), READABLE)


def clusters(sites: Sequence[WebSite]) -> list[dict[str, Any]]:
    """Returns the clusters of the sites that have an address."""
    return [_cluster(site) for site in sites if site.address]


def _cluster(site: WebSite) -> dict[str, Any]:
    name = _cluster_name(site)
    address = {"socket_address": {"address": site.address, "port_value": site.port}}
    return {
        "@type": f"{_TYPE}config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "per_connection_buffer_limit_bytes": 262144,
        "typed_extension_protocol_options": {
            _HTTP: {
                "@type": f"type.googleapis.com/{_HTTP}",
                "common_http_protocol_options": {"idle_timeout": KEPT_TIMEOUT},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def routes(sites: Sequence[WebSite]) -> dict[str, Any]:
    """Returns the routes: each site below its path, and at a host name of its own."""
    by_path = [route for site in sites for route in _below_path(site)]
    return {
        "@type": f"{_TYPE}config.route.v3.RouteConfiguration",
        "name": ROUTE_CONFIG,
        "ignore_port_in_host_matching": True,
        # A cluster may come a moment after the route.
        "validate_clusters": False,
        "virtual_hosts": [
            *(_own_host(site) for site in sites),
            {"name": "paths", "domains": ["*"], "routes": [*by_path, _nothing_here()]},
        ],
    }


def _own_host(site: WebSite) -> dict[str, Any]:
    return {
        "name": site.chute,
        "domains": [f"{site.chute}.{WEB_DOMAIN}"],
        "routes": [_route(site, {"prefix": "/"}, "")],
    }


def _below_path(site: WebSite) -> list[dict[str, Any]]:
    prefix = f"/chutes/{site.chute}"
    # Without the slash at the end the links of a page would lead one level too high.
    with_slash = {"match": {"path": prefix}, "redirect": {"path_redirect": f"{prefix}/"}}
    return [
        {**with_slash, "typed_per_filter_config": _NO_AUTH},
        _route(site, {"prefix": f"{prefix}/"}, prefix),
    ]


def _route(site: WebSite, match: dict[str, Any], prefix: str) -> dict[str, Any]:
    config = _NO_AUTH if site.access == "public" else _USERS
    if not site.address:
        return {**_answer(503, f"The chute {site.chute} is not running."), "match": match}
    action: dict[str, Any] = {
        "cluster": _cluster_name(site),
        "timeout": "0s",
        "idle_timeout": IDLE_TIMEOUT,
        "retry_policy": _ASKED_AGAIN,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }
    forwarded = [{"header": {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"}, **_OVERWRITE}]
    if prefix:
        action["prefix_rewrite"] = "/"
        forwarded.append({"header": {"key": "x-forwarded-prefix", "value": prefix}, **_OVERWRITE})
    return {
        "match": match,
        "route": action,
        "request_headers_to_add": forwarded,
        "metadata": {"filter_metadata": {"envoy.filters.http.lua": {"prefix": prefix}}},
        "typed_per_filter_config": config,
    }


_OVERWRITE = {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _nothing_here() -> dict[str, Any]:
    return {**_answer(404, "There is no chute with pages of that name."), "match": {"prefix": "/"}}


def _answer(status: int, message: str) -> dict[str, Any]:
    return {
        "direct_response": {"status": status, "body": {"inline_string": message}},
        "typed_per_filter_config": _NO_AUTH,
    }


def _cluster_name(site: WebSite) -> str:
    return f"web-{site.chute}"
