"""Turns what the domain knows into messages."""

from typing import Any

from google.protobuf import json_format, struct_pb2
from paradrop.node.v1 import node_pb2 as pb

from services.common.ring import LogLine
from services.common.timestamps import to_timestamp
from services.node.domain.hardware import Hardware, Software
from services.node.domain.provision import Provision, Provisioning


def value(plain: Any) -> struct_pb2.Value:
    """Returns a text, a number, a boolean or None as what keeps its JSON type."""
    if plain is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(plain, bool):
        return struct_pb2.Value(bool_value=plain)
    if isinstance(plain, int | float):
        return struct_pb2.Value(number_value=plain)
    return struct_pb2.Value(string_value=str(plain))


def to_hardware(hardware: Hardware) -> pb.GetHardwareResponse:
    """Returns the reply about the hardware."""
    return pb.GetHardwareResponse(
        vendor=value(hardware.vendor),
        board=hardware.board,
        cpu=hardware.cpu,
        memory=hardware.memory_bytes,
        wifi=[
            pb.WifiCard(
                id=radio.id,
                mac_addr=radio.mac,
                vendor_id=radio.vendor_id,
                device_id=radio.device_id,
                slot=radio.slot,
            )
            for radio in hardware.radios
        ],
    )


def to_software(software: Software, uptime_s: int) -> pb.GetSoftwareResponse:
    """Returns the reply about the software."""
    return pb.GetSoftwareResponse(
        bios_vendor=value(software.bios_vendor),
        bios_version=value(software.bios_version),
        bios_date=value(software.bios_date),
        os_version=value(software.os_version),
        kernel_version=value(software.kernel_version),
        pd_version=value(software.pd_version),
        uptime=uptime_s,
    )


def to_telemetry(report: dict[str, Any]) -> pb.GetTelemetryResponse:
    """Returns the documented report as a message; what newer versions of psutil tell besides is left out."""
    return json_format.ParseDict(report, pb.GetTelemetryResponse(), ignore_unknown_fields=True)


def to_status(document: dict[str, Any]) -> pb.GetStatusResponse:
    """Returns the document of the status socket as a message."""
    return json_format.ParseDict(document, pb.GetStatusResponse(), ignore_unknown_fields=True)


def to_provision(provision: Provision, connected: bool) -> pb.GetProvisionResponse:
    """Returns how the node stands with its controller."""
    reply = pb.GetProvisionResponse(
        router_id=value(provision.router_id),
        pdserver=provision.pdserver,
        wamp_router=provision.wamp_router,
        provisioned=provision.provisioned,
        http_connected=connected,
    )
    for name in ("router", "batch"):
        if isinstance(told := provision.told.get(name), dict):
            getattr(reply, name).update(told)
    return reply


def to_provisioned(changed: bool, provision: Provision, connected: bool) -> pb.SetProvisionResponse:
    """Returns what became of a wish to belong to a controller; the document is the part that REST has."""
    reply = pb.SetProvisionResponse(
        success=changed,
        message="The node belongs to the controller." if changed else "No change on the provision parameters",
        provisioned=provision.provisioned,
        http_connected=connected,
    )
    told = json_format.MessageToDict(reply, always_print_fields_with_no_presence=True)
    shown = ("provisioned", "httpConnected", "wampConnected") if changed else ("success", "message")
    reply.document.update({name: told[name] for name in shown})
    return reply


def to_controller(provisioning: Provisioning) -> pb.GetControllerResponse:
    """Returns how the connection to the controller is."""
    reply, trouble = pb.GetControllerResponse, provisioning.trouble
    if not provisioning.present.provisioned:
        return reply(state=reply.STATE_UNPROVISIONED)
    address = provisioning.present.pdserver
    if provisioning.connected:
        return reply(address=address, state=reply.STATE_CONNECTED)
    if trouble is None:
        return reply(address=address, state=reply.STATE_CONNECTING)
    return reply(
        address=address, state=reply.STATE_DISCONNECTED, reason=trouble.reason, message=trouble.message
    )


def to_log_line(line: LogLine) -> pb.LogLine:
    """Returns one line of the log."""
    return pb.LogLine(
        time=to_timestamp(line.time_s),
        service=line.service,
        level=line.level,
        message=line.message,
        fields=dict(line.fields),
    )
