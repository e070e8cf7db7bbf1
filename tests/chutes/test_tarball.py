"""Uploaded tars: what is unpacked, and that hostile ones unpack to nothing, quickly and in little memory."""

import gzip
import io
import os
import stat
import tarfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.chutes.adapters.tarball import Limits, extract
from services.common.errors import DomainError, ResourceExhausted

MIB = 1024 * 1024
CHUTE = {"paradrop.yaml": b"name: web\n", "Dockerfile": b"FROM scratch\n"}

Add = Callable[[tarfile.TarFile], None]


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def add_file(tar: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    tar.addfile(member(name, size=len(content), **fields), io.BytesIO(content))


def archive(*adds: Add, chute: bool = True, format: int = tarfile.PAX_FORMAT) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format) as tar:
        for add in adds:
            add(tar)
        if chute:
            for name, content in CHUTE.items():
                add_file(tar, name, content)
    return output.getvalue()


def file(name: str, content: bytes = b"", **fields: object) -> Add:
    return lambda tar: add_file(tar, name, content, **fields)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Add:
    return lambda tar: tar.addfile(member(name, kind, linkname=target))


def folder(name: str, **fields: object) -> Add:
    return lambda tar: tar.addfile(member(name, tarfile.DIRTYPE, **fields))


class Box:
    """A folder in which tars are unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.target = path / "target"

    def unpack(self, content: bytes, max_bytes: int = MIB, limits: Limits | None = None) -> Path:
        tar = self.path / "upload.tar"
        tar.write_bytes(content)
        extract(tar, self.target, max_bytes, limits or Limits())
        return self.target

    def refusal(self, content: bytes, max_bytes: int = MIB, limits: Limits | None = None) -> DomainError:
        """Unpacks what must be refused; nothing may be left, neither inside nor outside."""
        with pytest.raises(DomainError) as caught:
            self.unpack(content, max_bytes, limits)
        assert sorted(entry.name for entry in self.path.iterdir()) == ["upload.tar"]
        return caught.value


@pytest.fixture
def box(tmp_path: Path) -> Box:
    inner = tmp_path / "box"
    inner.mkdir()
    return Box(inner)


@contextmanager
def little_memory(limit_bytes: int = 4 * MIB) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit_bytes


def test_a_chute_is_unpacked(box: Box) -> None:
    content = os.urandom(200_000)
    target = box.unpack(
        archive(
            folder("."),
            folder("./src", mode=0o700),
            file("./src/app.py", content, mode=0o755),
            file("src/secret", b"x", mode=0o600),
            file("deep/er/file.txt", b"y"),
            link("src/alias", "app.py"),
            link("src/up", "../deep/er"),
            link("src/hard", "deep/er/file.txt", tarfile.LNKTYPE),
            link("dangling", "nowhere/at/all"),
        )
    )
    assert (target / "src/app.py").read_bytes() == content
    assert stat.S_IMODE((target / "src/app.py").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "src/secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((target / "src").stat().st_mode) == 0o700
    assert (target / "src/alias").readlink() == Path("app.py")
    assert (target / "src/up/file.txt").read_bytes() == b"y"
    assert (target / "src/hard").samefile(target / "deep/er/file.txt")
    assert (target / "dangling").is_symlink()
    assert (target / "paradrop.yaml").read_bytes() == CHUTE["paradrop.yaml"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_formats_with_long_names(box: Box, format: int) -> None:
    name = "/".join(["a" * 60, "b" * 60, "c" * 90])
    target = box.unpack(archive(file(name, b"long"), file("ä-ö", b"utf"), format=format))
    assert (target / name).read_bytes() == b"long"
    assert (target / "ä-ö").read_bytes() == b"utf"


def test_permissions_and_owners_of_strangers_are_dropped(box: Box) -> None:
    target = box.unpack(
        archive(
            file("suid", b"", mode=0o6777, uid=12345, gid=12345, mtime=-1),
            file("unreadable", b"", mode=0),
            folder("closed", mode=0),
            file("closed/in", b""),
        )
    )
    assert stat.S_IMODE((target / "suid").stat().st_mode) == 0o755
    assert (target / "suid").stat().st_uid == os.getuid()
    assert stat.S_IMODE((target / "unreadable").stat().st_mode) == 0o600
    assert stat.S_IMODE((target / "closed").stat().st_mode) == 0o700


def test_a_later_file_replaces_an_earlier_one(box: Box) -> None:
    content = archive(file("a", b"old"), link("b", "a", tarfile.LNKTYPE), file("a", b"new"))
    target = box.unpack(content)
    assert (target / "a").read_bytes() == b"new"
    assert (target / "b").read_bytes() == b"old"


def test_git_archives_are_fine(box: Box) -> None:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", pax_headers={"comment": "0123456789" * 4}) as tar:
        for name, content in CHUTE.items():
            add_file(tar, name, content)
    assert (box.unpack(output.getvalue()) / "Dockerfile").exists()


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "//etc/passwd", "../outside", "a/../../outside", "a/..", "./../outside", "..", "a/../b"],
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_paths_that_lead_out(box: Box, name: str, kind: bytes) -> None:
    error = box.refusal(archive(lambda tar: tar.addfile(member(name, kind, linkname="x"))))
    assert error.reason == "TAR_UNSAFE_PATH"


@pytest.mark.parametrize(
    "name", ["a" * 256, "/".join(["a"] * 40), "/".join(["a" * 200] * 6), "ä" * 130], ids=["1", "2", "3", "4"]
)
def test_paths_that_are_too_long(box: Box, name: str) -> None:
    assert box.refusal(archive(file(name))).reason == "TAR_UNSAFE_PATH"


LINKS_OUT: dict[str, list[Add]] = {
    "absolute": [link("a", "/etc/passwd")],
    "up": [link("a", "../outside")],
    "up from a folder": [link("d/a", "../../outside")],
    "in a circle": [link("a", "b"), link("b", "a")],
    "to itself": [link("a", "a")],
    # Each looks harmless alone: d/e/s is the root of the chute, so d/e/s/.. is outside.
    "through another": [folder("d/e"), link("d/e/s", "../.."), link("m", "d/e/s/../outside")],
    "through a later one": [link("m", "d/e/s/../outside"), folder("d/e"), link("d/e/s", "../..")],
    "deeper": [link("x", "d/e/f"), folder("d/e/f"), link("y", "x/../../../.."), folder("z")],
    "empty": [link("a", "")],
    "long": [link("a", "b/" * 600)],
    "many steps": [link("a", "b/" * 400)],
}


@pytest.mark.parametrize("adds", LINKS_OUT.values(), ids=LINKS_OUT.keys())
def test_links_that_lead_out(box: Box, adds: list[Add]) -> None:
    (box.path.parent / "outside").write_text("untouched")
    assert box.refusal(archive(*adds)).reason == "TAR_UNSAFE_MEMBER"


@pytest.mark.parametrize(
    "adds",
    [
        [link("a", "/etc/passwd", tarfile.LNKTYPE)],
        [link("a", "../upload.tar", tarfile.LNKTYPE)],
        [link("a", "absent", tarfile.LNKTYPE)],
        [link("a", "a", tarfile.LNKTYPE)],
        [folder("d"), link("a", "d", tarfile.LNKTYPE)],
        [link("s", "paradrop.yaml"), link("a", "s", tarfile.LNKTYPE)],
        [link("a", "later", tarfile.LNKTYPE), file("later")],
        [file("x"), link("s", "."), link("a", "s/x", tarfile.LNKTYPE)],
    ],
)
def test_hard_links_lead_to_files_of_the_tar(box: Box, adds: list[Add]) -> None:
    assert box.refusal(archive(*adds)).reason in ("TAR_UNSAFE_MEMBER", "TAR_UNSAFE_PATH")


@pytest.mark.parametrize(
    "adds",
    [
        [link("s", "d"), folder("d"), file("s/x", b"through a link")],
        [link("s", "."), file("s/s/s/x")],
        [link("s", "d"), folder("s")],
        [link("s", "d"), file("s")],
        [file("f"), link("f", "d")],
        [file("f"), folder("f")],
        [file("f"), file("f/x")],
        [folder("d"), file("d")],
        [folder("d"), link("d", "x")],
        [link("s", "x"), link("s", "y")],
    ],
)
def test_names_are_not_reused_as_something_else(box: Box, adds: list[Add]) -> None:
    assert box.refusal(archive(*adds)).reason == "TAR_UNSAFE_MEMBER"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"])
def test_devices_and_the_unknown_are_refused(box: Box, kind: bytes) -> None:
    content = archive(lambda tar: tar.addfile(member("dev", kind, devmajor=1, devminor=3)))
    assert box.refusal(content).reason == "TAR_UNSAFE_MEMBER"


def test_the_sum_of_all_files_is_limited(box: Box) -> None:
    content = archive(file("a", bytes(600)), file("b", bytes(600)), chute=True)
    error = box.refusal(content, max_bytes=1100)
    assert isinstance(error, ResourceExhausted)
    assert error.reason == "UPLOAD_TOO_LARGE"
    assert box.unpack(content, max_bytes=1300)


def test_the_count_of_members_is_limited(box: Box) -> None:
    content = archive(*(file(f"f{n}") for n in range(10)))
    assert box.refusal(content, limits=Limits(members=11)).reason == "TAR_TOO_MANY_MEMBERS"
    assert box.unpack(content, limits=Limits(members=12))


def test_folders_that_are_only_named_count_as_well(box: Box) -> None:
    content = archive(file("a/b/c/d/e/f"))
    assert box.refusal(content, limits=Limits(members=7)).reason == "TAR_TOO_MANY_MEMBERS"
    assert box.unpack(content, limits=Limits(members=8))


def claim_size(content: bytes, size: int) -> bytes:
    """Returns an archive whose first header says that its member has another size."""
    header = bytearray(content[:512])
    header[124:136] = b"\x80" + size.to_bytes(11, "big") if size >= 8**11 else b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content[512:]


@pytest.mark.parametrize("size", [2 * MIB, 2**40, 2**70])
def test_a_size_that_only_the_header_has(box: Box, size: int) -> None:
    with little_memory():
        error = box.refusal(claim_size(archive(file("a", b"x")), size))
    assert error.reason in ("UPLOAD_TOO_LARGE", "TAR_CORRUPT")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kind",
    [
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    ],
)
@pytest.mark.parametrize("size", [20 * MIB, 2**33])
def test_a_header_bomb_is_not_read(box: Box, kind: bytes, size: int) -> None:
    header = member("bomb", kind, size=size).tobuf(tarfile.GNU_FORMAT)
    content = header + bytes(20 * MIB)
    with little_memory():
        error = box.refusal(content, max_bytes=2**40)
    assert error.reason == "TAR_CORRUPT"


def pax(content: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    header = member("pax", kind, size=len(content)).tobuf(tarfile.USTAR_FORMAT)
    return header + content + bytes(-len(content) % 512)


def pax_record(keyword: bytes, value: bytes) -> bytes:
    body = b" " + keyword + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pax(b"1" * 15_000), "TAR_CORRUPT"),
        (pax(b"3 " + b"a" * 15_000), "TAR_CORRUPT"),
        (pax(b"0 a=b\n"), "TAR_CORRUPT"),
        (pax(b"9 a=b\n"), "TAR_CORRUPT"),
        (pax(b"6 abc\n"), "TAR_CORRUPT"),
        (pax(pax_record(b"size", b"-1024")), "TAR_CORRUPT"),
        (pax(pax_record(b"size", b"1e9")), "TAR_CORRUPT"),
        (pax(pax_record(b"size", b"9" * 30)), "TAR_CORRUPT"),
        (pax(pax_record(b"size", b"9" * 18)), "UPLOAD_TOO_LARGE"),
        (pax(pax_record(b"comment", b"1" * 10_000)), "TAR_CORRUPT"),
        (pax(pax_record(b"path", b"../outside")), "TAR_UNSAFE_PATH"),
        (pax(pax_record(b"path", b"a\0b")), "TAR_UNSAFE_PATH"),
        (pax(pax_record(b"path", b"/abs"), tarfile.XGLTYPE), "TAR_CORRUPT"),
        (pax(pax_record(b"size", b"5"), tarfile.XGLTYPE), "TAR_CORRUPT"),
        (pax(pax_record(b"a", b"b" * 2000), tarfile.XGLTYPE), "TAR_CORRUPT"),
        (pax(pax_record(b"GNU.sparse.size", b"99999999999")), "TAR_UNSAFE_MEMBER"),
        (pax(pax_record(b"GNU.sparse.map", b"0,1")), "TAR_UNSAFE_MEMBER"),
        (pax(pax_record(b"a", b"b")) * 2000, "TAR_CORRUPT"),
    ],
)
def test_hostile_extended_headers(box: Box, content: bytes, reason: str) -> None:
    start_s = time.process_time()
    error = box.refusal(content + archive(file("a", b"x")))
    assert time.process_time() - start_s < 1
    assert error.reason == reason


def test_sparse_files_are_refused(box: Box) -> None:
    header = bytearray(member("sparse", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    assert box.refusal(bytes(header) + archive()).reason == "TAR_UNSAFE_MEMBER"


def negative_size(content: bytes) -> bytes:
    header = bytearray(content[:512])
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content[512:]


def test_a_negative_size_does_not_turn_in_circles(box: Box) -> None:
    assert box.refusal(negative_size(archive(file("a", bytes(1024))))).reason == "TAR_CORRUPT"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\0" * 100,
        b"not a tar file at all. " * 100,
        os.urandom(10_240),
        archive(file("a", bytes(5000)))[:2000],
        archive(file("a", bytes(5000)))[:512],
        archive()[:1024],
        archive()[:700],
        archive()[:2048],
        archive(file("a", b"x"))[:1024] + b"garbage " * 64 + archive(),
    ],
)
def test_broken_tars(box: Box, content: bytes) -> None:
    assert box.refusal(content).reason == "TAR_CORRUPT"


@pytest.mark.parametrize(
    ("start", "name"),
    [(gzip.compress(archive()), "gzip"), (b"BZh9" + bytes(600), "bzip2"), (b"\xfd7zXZ\0" + bytes(600), "xz"),
     (b"PK\x03\x04" + bytes(600), "zip")],
)  # fmt: skip
def test_compressed_uploads_say_what_to_send(box: Box, start: bytes, name: str) -> None:
    error = box.refusal(start)
    assert error.reason == "TAR_CORRUPT"
    assert name in str(error)
    assert "uncompressed tar" in str(error)


def test_names_that_are_no_text_can_be_told(box: Box) -> None:
    error = box.refusal(archive(file("\udcff\udcfe/../x"), format=tarfile.GNU_FORMAT))
    str(error).encode("utf-8")
    assert error.reason == "TAR_UNSAFE_PATH"


def test_a_large_file_needs_little_memory(box: Box) -> None:
    path = box.path / "upload.tar"
    with tarfile.open(path, mode="w") as tar:
        with Path("/dev/zero").open("rb") as zeros:
            tar.addfile(member("big", size=64 * MIB), zeros)
        for name, content in CHUTE.items():
            add_file(tar, name, content)
    with little_memory():
        extract(path, box.target, 100 * MIB)
    assert (box.target / "big").stat().st_size == 64 * MIB


@pytest.mark.thorough
def test_many_members_need_little_memory_and_time(box: Box) -> None:
    content = archive(*(file(f"f{n}", mtime=1.5) for n in range(5000)))
    start_s = time.process_time()
    box.unpack(content)
    assert time.process_time() - start_s < 10


@pytest.mark.thorough
def test_many_links_are_followed_in_bounded_time(box: Box) -> None:
    chain = [link(f"l{n}", f"l{n + 1}/" + "a/" * 100) for n in range(200)]
    start_s = time.process_time()
    error = box.refusal(archive(*chain, *(link(f"m{n}", "l0") for n in range(2000))))
    assert time.process_time() - start_s < 10
    assert error.reason == "TAR_UNSAFE_MEMBER"


def test_an_existing_folder_is_left_alone(box: Box) -> None:
    box.target.mkdir()
    (box.target / "precious").write_text("kept")
    with pytest.raises(FileExistsError):
        box.unpack(archive())
    assert (box.target / "precious").read_text() == "kept"


NAMES = st.sampled_from(["a", "b", "a/b", "b/a", "a/b/c", "..", "../x", "/x", "a/..", "Dockerfile", "."])
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
)


@pytest.mark.thorough
@settings(max_examples=300, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, KINDS, NAMES), max_size=8))
def test_whatever_a_tar_holds_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, bytes, str]]
) -> None:
    box = Box(tmp_path_factory.mktemp("box"))
    content = archive(
        *(lambda tar, part=part: tar.addfile(member(part[0], part[1], linkname=part[2])) for part in parts)
    )
    assert _unpacks_or_is_refused(box, content)


@pytest.mark.thorough
@settings(max_examples=300, deadline=5000)
@given(st.data())
def test_a_damaged_tar_unpacks_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    box = Box(tmp_path_factory.mktemp("box"))
    content = bytearray(archive(file("a", b"x" * 600), link("l", "a"), folder("d"), file("n" * 150)))
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        _fix_checksums(content)
    assert _unpacks_or_is_refused(box, bytes(content[: data.draw(st.integers(0, len(content)))]))


@settings(max_examples=100, deadline=5000)
@given(st.binary(max_size=3000))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    assert _unpacks_or_is_refused(Box(tmp_path_factory.mktemp("box")), content)


def _fix_checksums(content: bytearray) -> None:
    """Makes damaged headers look sound, so that what is in them is believed."""
    for start in range(0, len(content) - 511, 512):
        header = content[start : start + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(header)


def _unpacks_or_is_refused(box: Box, content: bytes) -> bool:
    try:
        target = box.unpack(content)
    except DomainError:
        return [entry.name for entry in box.path.iterdir()] == ["upload.tar"]
    inside = target.resolve()
    entries = list(target.rglob("*"))
    return sorted(entry.name for entry in box.path.iterdir()) == ["target", "upload.tar"] and all(
        entry.resolve().is_relative_to(inside) for entry in entries
    )
