"""Dockerfiles, .dockerignore files and the engine's messages, without an engine."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.chutes.adapters import docker_context
from services.chutes.adapters.docker_build import MAX_LINE_CHARACTERS, BuildOutput
from services.chutes.adapters.docker_containers import taken_port
from services.chutes.adapters.docker_ignore import parse, sent_paths
from services.chutes.adapters.docker_logs import lines
from services.chutes.adapters.dockerfile import with_labels
from services.common.errors import InvalidArgument
from tests.support.engine import chute_folder

LABEL = 'LABEL io.paradrop.node="n"'


def labelled(dockerfile: str) -> list[str]:
    return with_labels(dockerfile, {"io.paradrop.node": "n"}).rstrip("\n").split("\n")


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM a", ["FROM a", LABEL]),
        ("FROM a\r\nRUN b\r\n", ["FROM a", LABEL, "RUN b"]),
        ("\ufefffrom a as b\nRUN c", ["from a as b", LABEL, "RUN c"]),
        ("  FROM\ta\n", ["  FROM\ta", LABEL]),
        ("ARG V=1\nFROM a:$V\n", ["ARG V=1", "FROM a:$V", LABEL]),
        ("FROM a AS x\nFROM b\n", ["FROM a AS x", LABEL, "FROM b", LABEL]),
        ("# FROM no\nFROM a\n", ["# FROM no", "FROM a", LABEL]),
        ("FROM \\\n  a\nRUN b", ["FROM \\", "  a", LABEL, "RUN b"]),
        ("FROM \\  \n# comment\n\n  a\nRUN b", ["FROM \\  ", "# comment", "", "  a", LABEL, "RUN b"]),
        ("RUN echo \\\nFROM not\nFROM a", ["RUN echo \\", "FROM not", "FROM a", LABEL]),
        (
            "# escape=`\nFROM a\nRUN dir \\\nFROM b\nRUN x `\nFROM not\n",
            ["# escape=`", "FROM a", LABEL, "RUN dir \\", "FROM b", LABEL, "RUN x `", "FROM not"],
        ),
        ("# syntax=x\n# escape = `\nFROM `\na", ["# syntax=x", "# escape = `", "FROM `", "a", LABEL]),
        ("# words\n# escape=`\nFROM \\\na", ["# words", "# escape=`", "FROM \\", "a", LABEL]),
        ("FROMAGE x\nFROM a", ["FROMAGE x", "FROM a", LABEL]),
        (
            "FROM a\nRUN <<EOF\nFROM not\nEOF\nFROM b",
            ["FROM a", LABEL, "RUN <<EOF", "FROM not", "EOF", "FROM b", LABEL],
        ),
        (
            "FROM a\nCOPY <<-'A' <<B /x/\nFROM 1\n\tA\nFROM 2\nB\nFROM b",
            ["FROM a", LABEL, "COPY <<-'A' <<B /x/", "FROM 1", "\tA", "FROM 2", "B", "FROM b", LABEL],
        ),
        ("FROM a\nRUN echo \u2028FROM b\x0cFROM c", ["FROM a", LABEL, "RUN echo \u2028FROM b\x0cFROM c"]),
        ("", [""]),
        ("FROM a \\", ["FROM a \\", LABEL]),
    ],
)
def test_a_label_follows_each_from(dockerfile: str, expected: list[str]) -> None:
    assert labelled(dockerfile) == expected


@pytest.mark.parametrize(
    "line",
    [
        "LABEL io.paradrop.node=x",
        "label a=b io.paradrop.service=c",
        'LABEL "io.paradrop.chute"="x"',
        "ONBUILD LABEL io.paradrop.node=x",
        "LABEL a=b \\\n io.paradrop.node=c",
    ],
)
def test_labels_of_the_node_are_refused(line: str) -> None:
    with pytest.raises(InvalidArgument):
        labelled(f"FROM a\n{line}\n")


def test_other_uses_of_the_prefix_are_fine() -> None:
    assert labelled("FROM a\n# LABEL io.paradrop.node=x\nENV A=io.paradrop.node\nLABEL b=c")


@settings(max_examples=300, deadline=1000)
@given(st.text(alphabet="FROMfrom LABEL#escape=`\\\n\t<EOF'\" ab", max_size=200))
def test_any_dockerfile_keeps_its_lines(dockerfile: str) -> None:
    result = labelled(dockerfile)
    assert [line for line in result if line != LABEL] == dockerfile.rstrip("\n").split("\n")


FILES = {
    name: ""
    for name in (
        "Dockerfile",
        ".dockerignore",
        "a.txt",
        "b.md",
        "[x]",
        "docs/a.txt",
        "docs/deep/a.txt",
        "docs/deep/b.md",
        "src/.hidden",
        "src/a.txt",
        "src/main.py",
    )
}


@pytest.mark.parametrize(
    ("ignored", "dropped"),
    [
        ("", set()),
        ("# a.txt\n\n   \n", set()),
        ("a.txt", {"a.txt"}),
        ("/a.txt", {"a.txt"}),
        ("./a.txt ", {"a.txt"}),
        ("*.txt", {"a.txt"}),
        ("*/*.txt", {"docs/a.txt", "src/a.txt"}),
        ("**/*.txt", {"a.txt", "docs/a.txt", "docs/deep/a.txt", "src/a.txt"}),
        ("docs", {"docs/a.txt", "docs/deep/a.txt", "docs/deep/b.md"}),
        ("docs/", {"docs/a.txt", "docs/deep/a.txt", "docs/deep/b.md"}),
        ("docs/**", {"docs/a.txt", "docs/deep/a.txt", "docs/deep/b.md"}),
        ("docs/**/b.md", {"docs/deep/b.md"}),
        ("src/../docs/deep", {"docs/deep/a.txt", "docs/deep/b.md"}),
        ("docs\n!docs/deep", {"docs/a.txt"}),
        ("docs\n!docs/deep\ndocs/deep/b.md", {"docs/a.txt", "docs/deep/b.md"}),
        ("**\n!src", {"a.txt", "b.md", "[x]", "docs/a.txt", "docs/deep/a.txt", "docs/deep/b.md"}),
        ("*\n!**/*.py", set(FILES) - {"Dockerfile", ".dockerignore", "src/main.py"}),
        ("src/.*", {"src/.hidden"}),
        ("?.md", {"b.md"}),
        ("[ab].*", {"a.txt", "b.md"}),
        ("[^a].*", {"b.md"}),
        ("\\[x\\]", {"[x]"}),
        ("Dockerfile\n.dockerignore", set()),
        ("*", set(FILES) - {"Dockerfile", ".dockerignore"}),
    ],
)
def test_dockerignore(tmp_path: Path, ignored: str, dropped: set[str]) -> None:
    root = chute_folder(tmp_path, {**FILES, ".dockerignore": ignored})
    sent = {path for path in sent_paths(root, parse(ignored)) if (root / path).is_file()}
    assert set(FILES) - sent == dropped


@pytest.mark.parametrize(
    "pattern", ["*a" * 40 + "b", "**/" * 40 + "b", "[" * 100, "\\", "a\\", "[]", "[^]", "[z-a]"]
)
def test_hostile_patterns_are_matched_in_bounded_time(tmp_path: Path, pattern: str) -> None:
    root = chute_folder(tmp_path, {"Dockerfile": "", "a" * 200: "", "a/" * 30 + "a": ""})
    start_s = time.process_time()
    assert "Dockerfile" in sent_paths(root, parse(pattern))
    assert time.process_time() - start_s < 1


def test_a_context_is_made_in_small_pieces(tmp_path: Path) -> None:
    root = chute_folder(tmp_path, {"Dockerfile": "FROM a"})
    with (root / "big").open("wb") as big:
        big.truncate(50 * 1024 * 1024)
    sizes = [len(piece) for piece in docker_context.stream(docker_context.Context(root), {})]
    assert max(sizes) <= docker_context.CHUNK_BYTES
    assert sum(sizes) > 50 * 1024 * 1024


def test_a_dockerfile_that_is_not_utf8_is_sent_as_it_is(tmp_path: Path) -> None:
    root = chute_folder(tmp_path, {"Dockerfile": b"FROM a\nENV A=\xff\n", ".dockerignore": b"\xff*\n"})
    assert b"ENV A=\xff\n" in b"".join(docker_context.stream(docker_context.Context(root), {"a": "b"}))


def test_progress_of_downloads_is_left_out() -> None:
    output = BuildOutput()
    messages: list[dict[str, object]] = [
        {"status": "Pulling from library/busybox", "id": "stable"},
        {"status": "Pulling fs layer", "id": "abc"},
        {"status": "Downloading", "id": "abc", "progress": "[=>  ]", "progressDetail": {"current": 1}},
        {"status": "Pull complete", "id": "abc"},
        {"status": "Digest: sha256:1"},
        {"stream": "Step 1/1 : FROM"},
        {"stream": "\n"},
        {"stream": "half a "},
        {"stream": "line\nand \x1b[1mbold\x1b[0m\n50%\r"},
        {"stream": "99%\r\nnext\n"},
        {"aux": {"ID": "sha256:2"}},
    ]
    taken = [line for message in messages for line in output.take(message)]
    assert taken == [
        "stable: Pulling from library/busybox",
        "Digest: sha256:1",
        "Step 1/1 : FROM",
        "half a line",
        "and bold",
        "99%",
        "next",
    ]
    assert output.image_id == "sha256:2"


def test_endless_lines_are_cut() -> None:
    output = BuildOutput()
    for _ in range(1000):
        assert not list(output.take({"stream": "x" * 1000}))
    assert list(output.take({"stream": "\n"})) == ["x" * MAX_LINE_CHARACTERS]


def test_an_error_comes_after_an_unfinished_line() -> None:
    output = BuildOutput()
    assert not list(output.take({"stream": "last words"}))
    assert list(output.take({"error": "it\x1b[0m broke\n"})) == ["last words"]
    assert output.error == "it broke"
    failure = output.failure("web-main:1")
    assert failure.facts["output"] == "last words"


def test_records_without_a_time_have_that_of_the_one_before() -> None:
    records = [b"2026-01-02T03:04:05.000000006Z a\n", b"strange\n", b"2026-01-02T03:04:05Z b\n", b"\n"]
    taken = list(lines(iter(records), "main"))
    assert [line.message for line in taken] == ["a", "strange", "b", ""]
    assert [line.timestamp_ns % 1_000_000_000 for line in taken] == [6, 6, 0, 0]


@pytest.mark.parametrize(
    "said",
    [
        "driver failed programming external connectivity on endpoint web-main (5f0c): "
        "Bind for 0.0.0.0:8080 failed: port is already allocated",
        "failed: Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
        "failed: Error starting userland proxy: listen tcp6 [::]:8080: bind: address already in use",
        "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use",
        "failed to bind host port [::]:8080/tcp: address already in use",
    ],
)
def test_the_port_that_is_taken_is_known_from_what_engines_say(said: str) -> None:
    assert taken_port(said) == "8080"


def test_other_words_name_no_port() -> None:
    assert taken_port("exec: /bin/x:80: no such file or directory") is None
