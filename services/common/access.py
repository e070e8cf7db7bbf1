"""The table that says which role may call which RPC.

Deny by default: an RPC that is not listed is refused. What a caller may do to one particular chute is decided
by the chute service, which knows its owner. A test proves that every RPC in the descriptors is listed.
"""

from dataclasses import dataclass

from services.common.errors import PermissionDenied
from services.common.identity import Principal, Role


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call an RPC."""

    role: Role = Role.OWNER
    """The lowest role of a user."""
    chutes: bool = False
    """Whether a chute's own token is enough."""
    users: bool = True
    """Whether users may call it at all; if not, only the node's own services."""
    public: bool = False
    """Whether no token is needed."""

    def check(self, principal: Principal) -> None:
        """Raises `PermissionDenied` if the principal may not call the RPC."""
        if principal.kind == "service":
            return
        if principal.kind == "chute":
            if not self.chutes:
                raise PermissionDenied(
                    "A chute's token does not allow this call.", reason="CHUTE_TOKEN_NOT_ENOUGH"
                )
            return
        if not self.users:
            raise PermissionDenied("Only the services of the node make this call.", reason="SERVICES_ONLY")
        if principal.role < self.role:
            needed = self.role.name.lower()
            raise PermissionDenied(
                f"This call needs the role {needed}; {principal.name} has {principal.role.name.lower()}.",
                reason="ROLE_TOO_LOW",
                needed_role=needed,
                role=principal.role.name.lower(),
            )


PUBLIC = Access(public=True)
SERVICES = Access(users=False)
GUEST = Access(Role.GUEST)
USER = Access(Role.USER)
USER_OR_CHUTE = Access(Role.USER, chutes=True)
TRUSTED = Access(Role.TRUSTED)
ADMIN = Access(Role.ADMIN)

_BY_SERVICE: dict[str, dict[str, Access]] = {
    "grpc.health.v1.Health": {"Check": PUBLIC, "Watch": PUBLIC, "List": PUBLIC},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": GUEST},
    "envoy.service.auth.v3.Authorization": {"Check": PUBLIC},
    "paradrop.auth.v1.AuthService": {
        "LoginLocal": PUBLIC,
        "LoginCloud": PUBLIC,
        "ChangePassword": GUEST,
        "ClearPassword": ADMIN,
        "AddUser": ADMIN,
        "RemoveUser": ADMIN,
        "ListUsers": ADMIN,
        "IssueChuteToken": SERVICES,
        "RestoreChuteToken": SERVICES,
        "RevokeChuteToken": SERVICES,
        "ListLogins": ADMIN,
    },
    "paradrop.chutes.v1.ChuteService": {
        "ListChutes": USER_OR_CHUTE,
        "WatchChutes": SERVICES,
        "InstallChute": TRUSTED,
        "GetChute": USER_OR_CHUTE,
        "UpdateChute": TRUSTED,
        "DeleteChute": TRUSTED,
        "StartChute": TRUSTED,
        "StopChute": TRUSTED,
        "RestartChute": TRUSTED,
        "GetChuteCache": USER_OR_CHUTE,
        "GetChuteConfig": USER_OR_CHUTE,
        "SetChuteConfig": TRUSTED,
        "GetChuteSchema": GUEST,
        "RevokeToken": TRUSTED,
        "GetUsage": USER_OR_CHUTE,
        "StreamUsage": USER_OR_CHUTE,
        "LockChute": TRUSTED,
        "UnlockChute": TRUSTED,
        "StreamLogs": USER_OR_CHUTE,
    },
    "paradrop.chutes.v1.ChuteProcessService": {"GetChuteProcesses": SERVICES},
    "paradrop.chutes.v1.ChuteUploadService": {"UploadChute": TRUSTED, "UploadChuteUpdate": TRUSTED},
    "paradrop.chutes.v1.ChuteArchiveService": {"ExportChute": TRUSTED, "ImportChute": TRUSTED},
    "paradrop.chutes.v1.ChangeService": {
        "ListChanges": USER,
        "CreateChange": TRUSTED,
        "GetChange": USER,
        "WatchChange": USER,
        "WatchChanges": SERVICES,
        "CancelChange": TRUSTED,
        "SetHostConfig": ADMIN,
        "FactoryReset": ADMIN,
    },
    "paradrop.network.v1.NetworkService": {
        "ListChuteNetworks": USER_OR_CHUTE,
        "GetChuteNetwork": USER_OR_CHUTE,
        "ListLeases": USER_OR_CHUTE,
        "GetSsid": USER_OR_CHUTE,
        "SetSsid": TRUSTED,
        "GetHostapdStatus": USER_OR_CHUTE,
        "ListStations": USER_OR_CHUTE,
        "GetStation": USER_OR_CHUTE,
        "RemoveStation": TRUSTED,
        "ControlHostapd": ADMIN,
        "GetHostConfig": ADMIN,
        "GenerateHostConfig": ADMIN,
        "ListPdconf": ADMIN,
        "ReloadPdconf": ADMIN,
        "ListDevices": USER_OR_CHUTE,
    },
    "paradrop.network.v1.WirelessService": {
        "ListRadios": USER,
        "ListSurveys": USER,
        "ScanRadio": TRUSTED,
        "SwitchChannel": ADMIN,
        "ListAssociations": USER_OR_CHUTE,
        "WatchStations": USER_OR_CHUTE,
        "WatchLeases": USER_OR_CHUTE,
        "ListSessions": USER_OR_CHUTE,
        "KickStation": TRUSTED,
        "TransitionStation": TRUSTED,
        "ListBans": USER_OR_CHUTE,
        "LiftBan": TRUSTED,
        "GetAccessList": USER_OR_CHUTE,
        "SetAccessList": TRUSTED,
    },
    "paradrop.network.v1.HostConfigService": {
        "GetHostConfigSchema": USER,
        "ValidateHostConfig": ADMIN,
        "ListHostConfigVersions": ADMIN,
        "GetHostConfigVersion": ADMIN,
        "DiffHostConfig": ADMIN,
        "GetHostConfigStatus": ADMIN,
        "ConfirmHostConfig": ADMIN,
        "ApplyHostConfig": SERVICES,
        "RevertHostConfig": SERVICES,
    },
    "paradrop.network.v1.ChuteNetworkService": {
        "ApplyChuteNetworks": SERVICES,
        "AttachChuteNetworks": SERVICES,
        "ReleaseChuteNetworks": SERVICES,
        "SyncChutes": SERVICES,
        "ListChuteInterfaces": SERVICES,
    },
    "paradrop.airshark.v1.AirsharkService": {
        "GetStatus": USER,
        "GetSource": USER,
        "SetSource": ADMIN,
        "SubscribeRaw": USER,
        "SubscribeSpectrum": USER,
        "SubscribeSweep": USER,
        "SubscribeWaterfall": USER,
        "GetChannelUtilisation": USER,
        "SubscribeAnalyzer": USER,
        "StartRecording": ADMIN,
        "StopRecording": ADMIN,
        "ListRecordings": USER,
        "DeleteRecording": ADMIN,
        "ReadRecording": USER,
    },
    "paradrop.airshark.v1.DetectionService": {
        "WatchDetections": USER,
        "ListDetections": USER,
        "GetAirQuality": USER,
        "GetAnalysis": USER,
        "SetAnalysis": ADMIN,
    },
    "paradrop.node.v1.NodeService": {
        "GetHardware": USER,
        "GetSoftware": USER,
        "GetEnvironment": ADMIN,
        "GetFeatures": GUEST,
        "GetTelemetry": USER,
        "WatchTelemetry": USER,
        "GetCapabilities": GUEST,
        "ListIssues": USER,
        "FixIssue": ADMIN,
        "GetPdid": USER,
        "GetProvision": USER,
        "SetProvision": ADMIN,
        "GetController": USER,
        "GetSettings": ADMIN,
        "ListSshKeys": ADMIN,
        "AddSshKey": ADMIN,
        "RemoveSshKey": ADMIN,
        "StartUpdate": ADMIN,
        "GetStatus": USER,
        "StreamLogs": ADMIN,
    },
    "paradrop.process.v1.ProcessService": {"GetProcess": USER, "GetMetrics": USER, "StreamLines": ADMIN},
    # Implemented by controllers; no service of a node answers it.
    "paradrop.controller.v1.ControllerService": {"Connect": SERVICES},
    "paradrop.node.v1.AudioService": {
        "GetAudioInfo": USER,
        "SetAudioInfo": ADMIN,
        "ListAudioModules": USER,
        "LoadAudioModule": ADMIN,
        "ListSinks": USER,
        "ListSources": USER,
        "SetSinkVolume": ADMIN,
        "SetSourceVolume": ADMIN,
    },
}

ACCESS: dict[str, Access] = {
    f"/{service}/{rpc}": access for service, rpcs in _BY_SERVICE.items() for rpc, access in rpcs.items()
}
"""Full method name, as gRPC writes it, to who may call it."""
