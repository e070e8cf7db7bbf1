"""What one look at the air found."""

from dataclasses import dataclass, field
from enum import StrEnum

SAME_CARRIER_MHZ = 0.8
"""Carriers that lie closer together are one."""


class Device(StrEnum):
    """Kinds of transmitters that are told apart."""

    MICROWAVE = "microwave"
    BLUETOOTH = "bluetooth"
    BLE = "ble"
    ZIGBEE = "zigbee"
    ANALOG_PHONE = "analog_phone"
    FHSS_PHONE = "fhss_phone"
    ANALOG_VIDEO = "analog_video"
    ANALOG_AUDIO = "analog_audio"
    XBOX = "xbox"
    CW = "cw"
    """A carrier with nothing on it."""
    JAMMER = "jammer"
    """Noise over a broad part of the band that never ends."""
    UNKNOWN = "unknown"
    """Something that none of the others explains; its features are measured."""


@dataclass(frozen=True)
class Found:
    """One device in one look."""

    device: Device
    confidence: float
    """Probability that it is there."""
    certain: bool
    """Whether this look alone is enough."""
    center_mhz: float
    bandwidth_mhz: float
    rssi_dbm: float
    duty_cycle: float
    """Share of the time in which it transmits, anywhere in the band."""
    first_s: float
    """When it was heard first and last in this look."""
    last_s: float
    tolerance_mhz: float
    """Within this distance another one of its kind is the same one."""
    features: dict[str, float] = field(default_factory=dict)
    doubtful: bool = False
    """Whether it is believed only among several others: where much is going on, more is likely."""
    beneath: bool = False
    """Whether a stronger carrier of another device is at its place."""
    another: bool = False
    """Whether it is certainly not the other one of its kind that the same look found."""
