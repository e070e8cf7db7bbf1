"""The texts in which the interface of old told about stations, made of typed values.

Each is what `iw dev IF station dump` prints behind the label, and the keys are its labels in lower case with
underscores.
"""

from collections.abc import Iterator

from services.network.domain.stations import Rate, StationInfo


def station_texts(station: StationInfo) -> dict[str, str]:
    """Returns the documented keys with their texts; what the driver does not tell is absent."""
    return {"mac_addr": station.mac, **{key: text for key, text in _texts(station) if text is not None}}


def _texts(s: StationInfo) -> Iterator[tuple[str, str | None]]:
    yield "inactive_time", _unit(s.inactive_ms, "ms")
    for key in ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets", "tx_retries", "tx_failed"):
        yield key, _plain(getattr(s, key))
    for key in ("beacon_loss", "beacon_rx", "rx_drop_misc"):
        yield key, _plain(getattr(s, key))
    yield "signal", _signal(s.signal_dbm, s.chain_signal_dbm)
    yield "signal_avg", _signal(s.signal_avg_dbm, s.chain_signal_avg_dbm)
    yield "beacon_signal_avg", _unit(s.beacon_signal_avg_dbm, "dBm")
    yield "tx_bitrate", _rate(s.tx_rate)
    yield "tx_duration", _unit(s.tx_duration_us, "us")
    yield "rx_bitrate", _rate(s.rx_rate)
    yield "rx_duration", _unit(s.rx_duration_us, "us")
    yield "last_ack_signal", _unit(s.ack_signal_dbm, "dBm")
    yield "avg_ack_signal", _unit(s.ack_signal_avg_dbm, "dBm")
    yield "airtime_weight", _plain(s.airtime_weight)
    if (kbps := s.expected_throughput_kbps) is not None:
        yield "expected_throughput", f"{kbps // 1000}.{kbps % 1000}Mbps"
    flags = s.flags
    yield "authorized", _yes(flags.authorized)
    yield "authenticated", _yes(flags.authenticated)
    yield "associated", _yes(flags.associated)
    if flags.short_preamble is not None:
        yield "preamble", "short" if flags.short_preamble else "long"
    yield "wmm_wme", _yes(flags.wmm)
    yield "mfp", _yes(flags.mfp)
    yield "tdls_peer", _yes(flags.tdls_peer)
    if s.bss is not None:
        yield "dtim_period", _plain(s.bss.dtim_period)
        yield "beacon_interval", _plain(s.bss.beacon_interval_tu)
        yield "cts_protection", "yes" if s.bss.cts_protection else None
        yield "short_preamble", "yes" if s.bss.short_preamble else None
        yield "short_slot_time", "yes" if s.bss.short_slot_time else None
    yield "connected_time", _unit(s.connected_s, "seconds")


def _plain(value: int | None) -> str | None:
    return None if value is None else str(value)


def _unit(value: int | None, unit: str) -> str | None:
    return None if value is None else f"{value} {unit}"


def _yes(value: bool | None) -> str | None:
    return None if value is None else ("yes" if value else "no")


def _signal(all_dbm: int | None, chains_dbm: tuple[int, ...]) -> str | None:
    if all_dbm is None:
        return None
    chains = f"[{', '.join(map(str, chains_dbm))}] " if chains_dbm else ""
    return f"{all_dbm} {chains}dBm"


def _rate(rate: Rate | None) -> str | None:
    if rate is None:
        return None
    steps = rate.bits_per_s // 100_000
    words = [f"{steps // 10}.{steps % 10} MBit/s" if steps else "(unknown)"]
    if rate.mode in ("HT", "VHT") and rate.mcs is not None:
        words.append(f"MCS {rate.mcs}" if rate.mode == "HT" else f"VHT-MCS {rate.mcs}")
    if rate.width_mhz not in (5, 10, 20):
        words.append("80P80MHz" if rate.is_80p80 else f"{rate.width_mhz}MHz")
    if rate.short_gi:
        words.append("short GI")
    if rate.mode == "VHT" and rate.streams is not None:
        words.append(f"VHT-NSS {rate.streams}")
    if rate.mode in ("HE", "EHT"):
        named = (
            ("MCS", rate.mcs),
            ("NSS", rate.streams),
            ("GI", rate.guard_interval),
            ("DCM", rate.dcm if rate.mode == "HE" else None),
            ("RU-ALLOC", rate.ru_alloc),
        )
        words += [f"{rate.mode}-{name} {value}" for name, value in named if value is not None]
    return " ".join(words)
