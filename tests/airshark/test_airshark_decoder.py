"""Every sample of every kind is read right, whatever surrounds it."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.airshark.domain.block import Flag
from services.airshark.domain.decoder import PIECE_BYTES, Decoder
from services.airshark.domain.formats import RecordType
from services.airshark.domain.framing import MAX_SKIPPED_BYTES
from services.airshark.domain.power import SILENT_DBM
from tests.support import captures
from tests.support.captures import ath10k, ath11k, capture, capture_elsewhere, decode, fft_eval, ht20, ht40
from tests.support.cases import thorough_but

COUNTS = {
    captures.AR9223: {(RecordType.HT20, 56): 291},
    captures.AR9280: {(RecordType.HT20, 56): 283},
    captures.AR9550: {(RecordType.HT20, 56): 676, (RecordType.HT40, 128): 122},
    captures.ATH10K_20: {
        (RecordType.ATH10K, 64): 64,
        (RecordType.ATH10K, 128): 32,
        (RecordType.ATH10K, 256): 32,
    },
    captures.ATH10K_80: {(RecordType.ATH10K, 128): 8, (RecordType.ATH10K, 256): 8},
    captures.CRASH: {},
}
PIECES = thorough_but([None, 1, 7, 76, 1000], None, 7)


@pytest.mark.parametrize("piece_bytes", PIECES)
@pytest.mark.parametrize("name", COUNTS)
def test_captures_decode_to_their_counts(name: str, piece_bytes: int | None) -> None:
    blocks, counts = decode(capture(name), piece_bytes)
    found: dict[tuple[RecordType, int], int] = {}
    for block in blocks:
        key = (block.type, block.bin_count)
        found[key] = found.get(key, 0) + len(block)
        assert np.isfinite(block.dbm).all()
    assert found == COUNTS[name]
    assert counts["samples"] == sum(COUNTS[name].values())
    unread = {reason: counts[reason] for reason in ("bad_type", "bad_length", "truncated", "resynchronised")}
    expected = (0, 1, 1, 0) if name == captures.CRASH else (0, 0, 0, 0)
    assert tuple(unread.values()) == expected


@pytest.mark.parametrize(
    ("name", "axis_agrees"),
    [(captures.AR9223, False), (captures.ATH10K_20, True), (captures.ATH10K_80, True)],
)
def test_agrees_with_fft_eval_where_that_is_right(name: str, axis_agrees: bool) -> None:
    blocks, _ = decode(capture(name))
    theirs = fft_eval(name)
    assert sum(map(len, blocks)) == len(theirs)
    for block in blocks:
        frequencies = block.frequencies_mhz()
        for row, index in enumerate(block.index):
            sample = theirs[index]
            assert sample["tsf"] == block.tsf_us[row]
            assert sample["central_freq"] == block.centre_mhz[row]
            assert (sample["rssi"], sample["noise"]) == (block.rssi_db[row, 0], block.noise_dbm[row, 0])
            data = np.array(sample["data"])
            np.testing.assert_allclose(block.dbm[row], data[:, 1], atol=1e-4)
            if axis_agrees:
                np.testing.assert_allclose(frequencies[row], data[:, 0], atol=1e-3)


@pytest.mark.parametrize("name", [captures.AR9223, captures.AR9280])
def test_a_carrier_is_at_one_frequency_whatever_the_radio_is_tuned_to(name: str) -> None:
    """The camera on 2414.3 MHz is seen from 2412, 2417 and 2422 MHz; with 312.5 kHz per bin it would
    wander."""
    (block,), _ = decode(capture(name))
    found = []
    for centre in (2412, 2417, 2422):
        seen = block.select(block.centre_mhz == centre)
        power = (10 ** (seen.dbm / 10)).mean(axis=0)
        near = slice(max(power.argmax() - 2, 0), power.argmax() + 3)
        found.append(np.average(seen.frequencies_mhz()[0, near], weights=power[near]))
    assert np.ptp(found) < 0.4, found
    assert np.mean(found) == pytest.approx(2414.35, abs=0.2)


@pytest.mark.parametrize(
    ("name", "samples", "flagged"),
    [
        ("athspectral_5200_20.log", {"samples": 3328}, {"all_zero": 3, "bad_exponent": 1}),
        ("athspectral_5240_HT20.log", {"samples": 3328}, {"bad_exponent": 1}),
        ("athspectral_5220_HT40PLUS.log", {"samples": 2269}, {}),
        ("athspectral_5300_40_mixed.log", {"samples": 1320, "bad_length": 949}, {}),
        ("speccy_fft_2014-11-24_11-24-42.bin", {"samples": 100}, {}),
    ],
)
def test_captures_that_may_not_be_copied_here(
    name: str, samples: dict[str, int], flagged: dict[str, int]
) -> None:
    blocks, counts = decode(capture_elsewhere(name), 4096)
    for block in blocks:
        assert np.isfinite(block.dbm).all()
    clock_and_level = ("tsf_step", "saturated")
    assert {key: value for key, value in counts.items() if key not in clock_and_level} == samples | flagged


def test_the_formula() -> None:
    bins = bytes([0, 1, 2, 255] + [10] * 52)
    (block,), _ = decode(ht20(bins, max_exp=3, rssi=30, noise=-90))
    data = np.frombuffer(bins, np.uint8).astype(float)
    total = 10 * np.log10((data**2).sum())
    expected = -60 + 20 * np.log10(np.maximum(data, 1)) - total
    expected[0] = -60 - 20 * np.log10(8) - total  # A bin of 0 counts as 1 after the shift.
    np.testing.assert_allclose(block.dbm[0], expected, atol=1e-4)
    shares = 10 ** (block.dbm[0, 1:] / 10)
    assert 10 * np.log10(shares.sum()) == pytest.approx(-60, abs=1e-3)
    assert block.peak_bin.tolist() == [3]


def test_the_shift_alters_only_bins_of_zero() -> None:
    bins = bytes([0, 5] * 28)
    (block,), _ = decode(b"".join(ht20(bins, max_exp=exponent) for exponent in (0, 1, 4, 14)))
    assert np.ptp(block.dbm[:, 1::2]) == 0
    lowered = block.dbm[0, 0] - block.dbm[:, 0]
    np.testing.assert_allclose(lowered, [0, 6.0206, 24.0824, 0], atol=1e-3)
    assert block.flags.tolist() == [0, 0, 0, Flag.BAD_EXPONENT]


def test_the_axes() -> None:
    data = ht20(freq=2412) + ht40(channel_type=3, freq=5180) + ht40(channel_type=2, freq=5200)
    data += ath10k(freq=5500, width=88) + ath11k(freq=5640, width=80)
    (small,), (wide,), (tenth,), (eleventh,) = (
        [block for block in decode(data)[0] if block.type is type] for type in RecordType
    )
    assert small.frequencies_mhz()[0, [0, 28]].tolist() == [2412 - 28 * 0.34375, 2412]
    assert small.bandwidth_mhz.tolist() == [19.25]
    assert wide.centre_mhz.tolist() == [5190, 5190]
    assert wide.frequencies_mhz()[:, 64].tolist() == [5190, 5190]
    assert wide.bandwidth_mhz.tolist() == [44, 44]
    assert tenth.frequencies_mhz()[0, [0, 63]].tolist() == [5456.6875, 5543.3125]
    assert eleventh.frequencies_mhz()[0, [0, 63]].tolist() == [5600.625, 5679.375]


def test_halves_of_ht40_are_measured_each_for_itself() -> None:
    lower, upper = bytes([10] * 64), bytes([200] * 64)
    (block,), _ = decode(ht40(lower, upper, rssi=(20, 40), noise=(-95, -90)))
    np.testing.assert_allclose(block.dbm[0, :64], -75 - 10 * np.log10(64), atol=1e-4)
    np.testing.assert_allclose(block.dbm[0, 64:], -50 - 10 * np.log10(64), atol=1e-4)


def test_both_kinds_of_ath11k_records() -> None:
    data = ath11k(freq=5180, noise=-100, rssi=33) + ath11k(freq=5200, noise=-101, rssi=34, vendor=True)
    blocks, counts = decode(data)
    assert counts == {"samples": 2}
    assert [block.centre_mhz.tolist() for block in blocks] == [[5180], [5200]]
    assert [block.total_dbm.tolist() for block in blocks] == [[[-67]], [[-67]]]
    assert [block.index.tolist() for block in blocks] == [[0], [1]]


def test_the_clock_of_ath11k_goes_on_beyond_its_bits() -> None:
    times = (2**32 - 200, 100, 400, 300)
    blocks, counts = decode(b"".join(ath11k(tsf=time) for time in times), piece_bytes=50)
    tsf_us = np.concatenate([block.tsf_us for block in blocks])
    assert tsf_us.tolist() == [2**32 - 200, 2**32 + 100, 2**32 + 400, 2**32 + 300]
    assert counts["tsf_step"] == 1


def test_what_is_wrong_with_a_sample_is_flagged() -> None:
    samples = [
        ht20(bytes(56)),
        ht20(rssi=110),
        ht20(max_exp=12),
        ht20(noise=0, rssi=-5),
        ht20(tsf=5_000),
        ht20(tsf=4_000),
        ht20(tsf=20_000_000),
    ]
    blocks, counts = decode(b"".join(samples), piece_bytes=200)
    flags = np.concatenate([block.flags for block in blocks])
    expected = [Flag.ALL_ZERO, Flag.SATURATED, Flag.BAD_EXPONENT, Flag.NO_NOISE_FLOOR]
    assert flags.tolist() == [*expected, 0, Flag.TSF_STEP, Flag.TSF_STEP]
    assert (blocks[0].dbm[0] == SILENT_DBM).all()
    assert counts["tsf_step"] == 2
    (wrong,), _ = decode(ht40(channel_type=9))
    assert wrong.flags.tolist() == [Flag.BAD_WIDTH]
    assert decode(ath10k(width=3))[1]["bad_width"] == 1


def test_a_silent_half_of_ht40_is_flagged_and_finite() -> None:
    (block,), _ = decode(ht40(lower=bytes(64), upper=b"\x05" * 64))
    assert block.flags.tolist() == [Flag.ALL_ZERO]
    assert (block.dbm[0, :64] == SILENT_DBM).all()
    assert (block.dbm[0, 64:] > -100).all()


def test_records_of_before_ht40_are_stepped_over() -> None:
    old = struct.pack(">BH", 2, 151) + bytes(151)
    blocks, counts = decode(ht20() + old + old + ht20() + old, piece_bytes=100)
    assert counts == {"samples": 2, "bad_length": 3}
    assert sum(map(len, blocks)) == 2


def test_unknown_records_are_stepped_over_when_a_known_one_follows() -> None:
    unknown = struct.pack(">BH", 9, 500) + b"\x01\x00\x49" * 100 + bytes(200)
    _, counts = decode(ht20() + unknown + ht20(), piece_bytes=30)
    assert counts == {"samples": 2, "bad_type": 1}


def test_damage_costs_the_damaged_record_only() -> None:
    records = [ht20(bytes([n + 1] * 56), tsf=n) for n in range(20)]
    damaged = [*records[:5], b"\xff\xff\xff garbage", *records[5:12], records[12][:40], *records[13:]]
    blocks, counts = decode(b"".join(damaged), piece_bytes=64)
    read = np.concatenate([block.tsf_us for block in blocks]).tolist()
    # The header of the record that was cut was good: it is read together with the beginning of the next one.
    assert set(range(20)) - set(read) <= {13}
    assert counts["resynchronised"] == 2


def test_a_truncated_end_is_counted() -> None:
    _, counts = decode(ht20() + ht20()[:-1])
    assert counts == {"samples": 1, "truncated": 1}
    _, counts = decode(ht20() + b"\x01")
    assert counts == {"samples": 1, "truncated": 1}


def test_mixed_kinds_keep_the_order_of_arrival() -> None:
    blocks, _ = decode(b"".join((ht20(tsf=n) if n % 3 else ath10k(tsf=n)) for n in range(30)))
    order = sorted(
        (int(i), int(t)) for block in blocks for i, t in zip(block.index, block.tsf_us, strict=True)
    )
    assert order == [(n, n) for n in range(30)]


def test_more_than_is_looked_at_at_once_is_read_as_in_small_pieces() -> None:
    data = capture(captures.AR9550) * (2 * PIECE_BYTES // len(capture(captures.AR9550)))
    at_once, counts = decode(data)
    in_pieces, counts_in_pieces = decode(data, 70_001)
    assert counts == counts_in_pieces
    assert counts["samples"] == 798 * (len(data) // len(capture(captures.AR9550)))
    for kind in (RecordType.HT20, RecordType.HT40):
        one, other = (
            np.concatenate([block.dbm for block in blocks if block.type is kind])
            for blocks in (at_once, in_pieces)
        )
        np.testing.assert_array_equal(one, other)


def test_select_keeps_rows_together() -> None:
    (block,), _ = decode(b"".join(ht20(bytes([n + 1] * 56), tsf=n) for n in range(10)))
    whole = block.dbm
    part = block.select(block.tsf_us >= 7)
    assert len(part) == 3
    assert part.tsf_us.tolist() == [7, 8, 9]
    np.testing.assert_array_equal(part.dbm, whole[7:])


RECORD = st.sampled_from(
    [ht20(), ht20(bytes(56)), ht40(), ath10k(), ath10k(b"\x02" * 256), ath11k(vendor=True)]
)
STREAM = st.lists(st.one_of(RECORD, st.binary(max_size=300)), max_size=12).map(b"".join)


@pytest.mark.thorough
@settings(max_examples=300, deadline=None)
@given(STREAM, st.integers(1, 400))
def test_any_bytes_are_read_the_same_however_they_are_cut(data: bytes, piece_bytes: int) -> None:
    whole, counts = decode(data)
    cut, cut_counts = decode(data, piece_bytes)
    assert counts == cut_counts
    seen = sum(len(block) for block in whole)
    assert seen == sum(len(block) for block in cut) == counts["samples"]
    for block in whole:
        assert np.isfinite(block.dbm).all()
        assert np.isfinite(block.frequencies_mhz()).all()


@pytest.mark.thorough
@settings(max_examples=200, deadline=None)
@given(STREAM.filter(lambda data: len(data) > 20), st.data())
def test_one_flipped_byte_never_costs_more_than_its_neighbourhood(data: bytes, draw: st.DataObject) -> None:
    position = draw.draw(st.integers(0, len(data) - 1))
    flipped = data[:position] + bytes([data[position] ^ 0x5A]) + data[position + 1 :]
    good = ht20(tsf=1) * 5
    blocks, counts = decode(good + flipped + good * 40)
    # The damage may look like the header of a record that nobody knows, as long as is believed.
    assert counts["samples"] >= 5 + 200 - MAX_SKIPPED_BYTES // len(ht20()) - 1
    assert all(np.isfinite(block.dbm).all() for block in blocks)


@pytest.mark.thorough
def test_memory_stays_a_small_multiple_of_the_input() -> None:
    import tracemalloc

    hostile = {
        "headers everywhere": b"\x01\x00\x49" * 700_000,
        "headers of nothing": b"\x04\x00\x00" * 700_000,
        "lost": b"\xff\xff\xff" * 700_000,
        "good": ht20() * 28_000,
    }
    for name, data in hostile.items():
        decoder = Decoder("phy0")
        tracemalloc.start()
        try:
            decoder.feed(data, 0.0)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 12 * len(data), (name, peak / len(data))
