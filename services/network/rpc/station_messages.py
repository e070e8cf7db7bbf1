"""Stations, radios and leases as messages."""

from paradrop.network.v1 import network_pb2, wireless_pb2

from services.common.timestamps import to_timestamp
from services.network.domain.access_lists import AccessList, Mode
from services.network.domain.dhcp import Lease
from services.network.domain.station_book import Association, Session
from services.network.domain.station_text import station_texts
from services.network.domain.stations import (
    Channel,
    ChannelSurvey,
    HeardAccessPoint,
    StationInfo,
    WirelessInterface,
    channel_number,
)
from services.network.domain.wireless import RadioState

_STATION_FIELDS = frozenset(network_pb2.Station.DESCRIPTOR.fields_by_name)
_SAME = ("inactive_ms", "signal_dbm", "signal_avg_dbm", "rx_bytes", "tx_bytes", "rx_packets", "tx_packets",
         "tx_retries", "tx_failed")  # fmt: skip
MODES = {"deny": wireless_pb2.AccessList.MODE_DENY, "allow": wireless_pb2.AccessList.MODE_ALLOW}


def to_station(info: StationInfo) -> network_pb2.Station:
    """Returns a station as the texts of old."""
    texts = station_texts(info)
    return network_pb2.Station(**{key: text for key, text in texts.items() if key in _STATION_FIELDS})


def to_association(station: Association) -> wireless_pb2.Association:
    """Returns a station with units."""
    info = station.info
    message = wireless_pb2.Association(
        mac=info.mac,
        joined_at=to_timestamp(station.joined_s),
        ip_address=station.address,
        hostname=station.hostname,
        authorized=info.flags.authorized is not False,
        chain_signal_dbm=info.chain_signal_dbm,
        mfp=info.flags.mfp,
        wmm=info.flags.wmm,
        **{name: value for name in _SAME if (value := getattr(info, name)) is not None},
    )
    if info.rx_rate is not None and info.rx_rate.bits_per_s:
        message.rx_rate_bps = info.rx_rate.bits_per_s
    if info.tx_rate is not None and info.tx_rate.bits_per_s:
        message.tx_rate_bps = info.tx_rate.bits_per_s
    if info.expected_throughput_kbps is not None:
        message.expected_throughput_bps = 1000 * info.expected_throughput_kbps
    return message


def to_session(session: Session) -> wireless_pb2.Session:
    """Returns a station that has left."""
    last = session.last
    return wireless_pb2.Session(
        mac=last.info.mac,
        joined_at=to_timestamp(last.joined_s),
        left_at=to_timestamp(session.left_s),
        ip_address=last.address,
        hostname=last.hostname,
        rx_bytes=last.info.rx_bytes or 0,
        tx_bytes=last.info.tx_bytes or 0,
        signal_dbm=last.info.signal_dbm,
    )


def to_lease(lease: Lease) -> network_pb2.Lease:
    """Returns a lease as the texts of its file."""
    return network_pb2.Lease(
        expires=str(lease.expires_s),
        mac_addr=lease.mac,
        ip_addr=lease.address,
        hostname=lease.hostname,
        client_id=lease.client_id,
    )


def to_radio(state: RadioState) -> wireless_pb2.Radio:
    """Returns a radio."""
    can = state.capabilities
    names = (("HT", can.ht), ("VHT", can.vht), ("HE", can.he), ("EHT", can.eht))
    return wireless_pb2.Radio(
        name=state.radio.id,
        phy=state.radio.phy,
        mac=state.radio.mac,
        interfaces=[_interface(interface) for interface in state.interfaces],
        channels=[_channel(channel) for channel in can.channels],
        modes=sorted(can.modes),
        generations=[name for name, present in names if present],
        max_access_points=can.max_access_points,
        channel_switch=can.channel_switch,
    )


def _interface(interface: WirelessInterface) -> wireless_pb2.RadioInterface:
    return wireless_pb2.RadioInterface(
        name=interface.name,
        mode=interface.mode,
        mac=interface.mac,
        ssid=None if interface.ssid is None else interface.ssid.decode(errors="replace"),
        frequency_mhz=interface.frequency_mhz,
        width=interface.width,
        tx_power_dbm=interface.tx_power_dbm,
    )


def _channel(channel: Channel) -> wireless_pb2.RadioChannel:
    return wireless_pb2.RadioChannel(
        number=channel.number,
        frequency_mhz=channel.frequency_mhz,
        usable=not channel.disabled and not channel.no_initiate,
        radar=channel.radar,
        max_power_dbm=channel.max_power_dbm,
    )


def to_survey(survey: ChannelSurvey) -> wireless_pb2.ChannelSurvey:
    """Returns how busy a channel was."""
    part = survey.busy_ms / survey.active_ms if survey.active_ms and survey.busy_ms is not None else None
    return wireless_pb2.ChannelSurvey(
        channel=channel_number(survey.frequency_mhz),
        frequency_mhz=survey.frequency_mhz,
        in_use=survey.in_use,
        noise_dbm=survey.noise_dbm,
        active_ms=survey.active_ms,
        busy_ms=survey.busy_ms,
        rx_ms=survey.rx_ms,
        tx_ms=survey.tx_ms,
        busy_part=part,
    )


def to_heard(heard: HeardAccessPoint) -> wireless_pb2.HeardAccessPoint:
    """Returns an access point that was heard."""
    return wireless_pb2.HeardAccessPoint(
        bssid=heard.bssid,
        ssid=heard.ssid.decode(errors="replace"),
        channel=channel_number(heard.frequency_mhz),
        frequency_mhz=heard.frequency_mhz,
        signal_dbm=heard.signal_dbm,
        security=heard.security,
        seen_ago_ms=heard.seen_ago_ms,
        stations=heard.stations,
        utilisation=heard.utilisation,
    )


def to_access_list(rules: AccessList) -> wireless_pb2.AccessList:
    """Returns who may join."""
    return wireless_pb2.AccessList(mode=MODES[rules.mode], macs=rules.macs)


def from_mode(mode: int) -> Mode:
    """Reads how addresses are meant."""
    return "allow" if mode == wireless_pb2.AccessList.MODE_ALLOW else "deny"
