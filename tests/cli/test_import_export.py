from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from gossipkv.cli.files import importer as importer_module
from gossipkv.cli.files.importer import BATCH_LINES_MAX, Importer
from gossipkv.cli.terminal.exit_code import ExitCode
from gossipkv.client import BatchOutcome, UnavailableError
from tests.cli.conftest import OpenGate, Run

LINES = BATCH_LINES_MAX * 2 + 500


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Rows for three batches."""
    path = tmp_path / "rows.tsv"
    path.write_text("".join(f"{number:05}\t{number}\n" for number in range(LINES)))
    return path


def state_of(source: Path, table: str) -> Path:
    return source.with_name(f"{source.name}.{table}.import-state")


@pytest.mark.parametrize("suffix", ["ndjson", "tsv"])
def test_an_export_is_what_was_imported(run: Run, tmp_path: Path, suffix: str) -> None:
    values = {"plain": b"value", "tab\tand\\": b"a\tb\\n\n\r", "binary": b"\x00\xff", "ü": "ü".encode(), "empty": b""}
    for row, value in values.items():
        (tmp_path / "value").write_bytes(value)
        run("put", f"original-{suffix}", row, "--file", tmp_path / "value")
    file = tmp_path / f"rows.{suffix}"
    run("export", f"original-{suffix}", file)
    assert f"{len(values)} rows in" in run("import", f"copy-{suffix}", file).err
    for row, value in values.items():
        assert run("get", f"copy-{suffix}", row).out == value
    again = run("export", f"copy-{suffix}", "--format", suffix).out
    if suffix == "tsv":
        assert again == file.read_bytes()
    else:
        without_etags = [{**json.loads(line), "etag": None} for line in again.splitlines()]
        assert without_etags == [{**json.loads(line), "etag": None} for line in file.read_bytes().splitlines()]


def test_an_export_replaces_a_file_only_when_it_is_complete(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    file.write_text("as it was")
    run("export", "any", file, "--server", "http://127.0.0.1:1", code=ExitCode.UNAVAILABLE)
    assert file.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_never_takes_the_place_of_what_is_no_file(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name in (pipe, tmp_path):
        assert "is not a file" in run("export", "any", name, code=ExitCode.ERROR).err
    assert pipe.is_fifo()


def test_an_export_through_a_link_writes_the_file_that_it_leads_to(run: Run, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("as it was")
    link.symlink_to(target)
    run("export", "nothing-there", link, "--server", "http://127.0.0.1:1", code=ExitCode.UNAVAILABLE)
    run("export", "nothing-there", link)
    assert link.is_symlink()
    assert target.read_text() == ""


def test_an_import_from_standard_input_tells_its_format_by_the_first_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (b'{"row": "json", "value": "1"}\n\n', b"tsv\t2\r\n"):
        reader = io.BufferedReader(io.BytesIO(content))
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=reader))
        run("import", "streamed")
    assert run("get", "streamed", "json").out == b"1"
    assert run("get", "streamed", "tsv").out == b"2"


def test_more_lines_to_skip_than_there_are_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a\t1\nb\t2\n")))
    outcome = run("import", "skipped", "--skip", 10**30, code=ExitCode.USAGE)
    assert "the input has 2 lines" in outcome.err


def test_a_table_that_cannot_be_is_refused_before_the_file_is_read(run: Run, tmp_path: Path) -> None:
    for source in (tmp_path / "absent.tsv", "-"):
        assert "is a table name" in run("import", "no name", source, code=ExitCode.USAGE).err


def test_lines_to_skip_are_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(b"a\t1\nb\t2\nbad\n"))))
    outcome = run("import", "skipped", "--skip", "1", code=ExitCode.ERROR)
    assert "line 3: no tab" in outcome.err
    assert run("list", "skipped", "--keys-only").out == b"b\n"


def test_rejected_lines_are_reported_by_number_and_the_others_stand(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    lines = ['{"row": "good", "value": "1"}', "not json", "", json.dumps({"row": "x" * 401, "value": ""})]
    lines += [json.dumps({"row": "long", "value": "x" * (2**20 + 1)}), '{"row": "also good", "value": "2"}']
    file.write_text("\n".join(lines))
    outcome = run("import", "rejected", file, code=ExitCode.ERROR)
    reported = [line.split(":")[0] for line in outcome.err.splitlines() if line.startswith("line")]
    assert sorted(reported) == ["line 2", "line 4", "line 5"]
    assert "3 lines were rejected" in outcome.err
    assert run("list", "rejected", "--keys-only").out == b"also good\ngood\n"
    assert not state_of(file, "rejected").exists()


def test_a_line_that_is_far_too_long_is_rejected_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer_module, "LINE_BYTES_MAX", 10)
    rejected: list[int] = []
    sent: list[bytes] = []

    def send(lines: list[bytes]) -> list[BatchOutcome]:
        sent.extend(lines)
        return [BatchOutcome(None, None, None, None)] * len(lines)

    content = b"a\t1\n" + b"b\t" + b"x" * 35 + b"\nc\t3\n"
    importing = Importer(io.BytesIO(content), "tsv", send, lambda line, _: rejected.append(line), lambda *_: None)
    list(importing.run())
    assert rejected == [2]
    assert [json.loads(line)["row"] for line in sent] == ["a", "c"]
    assert (importing.offset, importing.line) == (len(content), 3)


def test_of_a_line_that_is_long_for_its_siblings_the_row_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer_module, "LINE_BYTES_MAX", 64)
    rejected: list[int] = []
    sent: list[bytes] = []

    def send(lines: list[bytes]) -> list[BatchOutcome]:
        sent.extend(lines)
        return [BatchOutcome(None, None, None, None)] * len(lines)

    siblings = json.dumps([{"value": "x" * 10}] * 50)
    lines = [
        f'{{"row":"a","value":"1","etag":"e","siblings":{siblings},"context":"c"}}',
        f'{{"row":"b","siblings":{siblings},"value":"1"}}',
        f'{{"row":"c","value":"{"x" * 100}","siblings":{siblings}}}',
        '{"row":"d","value":"4"}',
    ]
    content = "\n".join(lines).encode()
    importing = Importer(io.BytesIO(content), "ndjson", send, lambda line, _: rejected.append(line), lambda *_: None)
    list(importing.run())
    assert [json.loads(line) for line in sent] == [{"row": "a", "value": "1"}, {"row": "d", "value": "4"}]
    assert rejected == [2, 3]
    assert (importing.offset, importing.line) == (len(content), 4)


def test_an_import_that_was_cut_short_goes_on_behind_what_is_done(run: Run, source: Path, gate: OpenGate) -> None:
    with gate(2) as (closing, url):
        outcome = run("import", "resumed", source, "--retries", "0", "--server", url, code=ExitCode.UNAVAILABLE)
    assert len(closing.rows) == 2 * BATCH_LINES_MAX
    state = state_of(source, "resumed")
    assert "stopped after line 10,000" in outcome.err
    assert str(state) in outcome.err
    assert json.loads(state.read_text())["line"] == 2 * BATCH_LINES_MAX

    again = run("import", "resumed", source)
    assert "going on after line 10,000" in again.err
    assert f"{LINES:,} rows with those before" in again.err
    expected = [f"{number:05}".encode() for number in range(2 * BATCH_LINES_MAX, LINES)]
    assert run("list", "resumed", "--keys-only").out.split() == expected
    assert not state.exists()


def test_an_import_never_goes_on_in_another_file_of_the_same_name(run: Run, source: Path, gate: OpenGate) -> None:
    with gate(1) as (_, url):
        run("import", "changed", source, "--retries", "0", "--server", url, code=ExitCode.UNAVAILABLE)
    source.write_text(source.read_text().replace("00007\t7", "00007\t8"))
    assert "has changed" in run("import", "changed", source, code=ExitCode.ERROR).err
    run("import", "changed", source, "--restart")
    assert run("get", "changed", "00007").out == b"8"
    assert len(run("list", "changed", "--keys-only").out.split()) == LINES


def test_a_state_that_cannot_be_read_is_no_reason_to_begin_anew_unasked(run: Run, source: Path) -> None:
    state_of(source, "broken").write_text("{")
    assert "no state of an import" in run("import", "broken", source, code=ExitCode.ERROR).err
    run("list", "broken")
    run("import", "broken", source, "--restart")


def test_the_state_never_takes_the_place_of_what_is_no_file(run: Run, source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "not a file" in run("import", "any", source, "--state", pipe, code=ExitCode.ERROR).err
    assert "not a file" in run("import", "any", source, "--state", pipe, "--restart", code=ExitCode.ERROR).err
    assert pipe.is_fifo()


def test_an_import_from_a_pipe_keeps_no_state_beside_it(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"a\t1\n"))
    writer.start()
    run("import", "piped", pipe)
    writer.join()
    assert run("get", "piped", "a").out == b"1"
    assert list(tmp_path.iterdir()) == [pipe]


def test_an_import_goes_on_with_the_next_server_when_one_fails(
    run: Run, source: Path, gate: OpenGate, member: str
) -> None:
    with gate(1) as (closing, url):
        run("import", "moved", source, "--server", url, "--server", member)
    assert len(closing.rows) == BATCH_LINES_MAX
    expected = [f"{number:05}".encode() for number in range(BATCH_LINES_MAX, LINES)]
    assert run("list", "moved", "--keys-only").out.split() == expected


def test_a_batch_is_sent_again_until_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer_module, "_RETRY_PAUSE_S", 0.0)
    failures = [UnavailableError("not now"), UnavailableError("not now")]
    told: list[str] = []

    def send(lines: list[bytes]) -> list[BatchOutcome]:
        if failures:
            raise failures.pop()
        return [BatchOutcome(None, None, None, None)] * len(lines)

    importing = Importer(
        io.BytesIO(b"a\t1\n"), "tsv", send, lambda *_: None, lambda error, _: told.append(str(error)), retries=2
    )
    list(importing.run())
    assert importing.rows == 1
    assert told == ["not now", "not now"]


def test_an_empty_file_is_no_rows_and_no_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "0 rows" in run("import", "empty", tmp_path / "empty").err
