"""The tables of one process, and what is refused."""

from __future__ import annotations

import gzip
import pathlib
import subprocess

import mambabyte
import pyarrow as pa
import pyarrow.parquet
import pytest
import score_folder
from conftest import Engine, tables


def table(path: pathlib.Path) -> list[dict]:
    return pa.parquet.read_table(path).to_pylist()


def test_the_rows_are_the_records_of_a_stream(folder: pathlib.Path, expected: pathlib.Path) -> None:
    files = score_folder.files_of(folder, expected)
    assert sorted(f"{file}.parquet" for file in files) == sorted(tables(expected)) and len(files) == 8
    flags = 0
    for file in files:
        with score_folder.Text(folder / file) as text:
            stream = mambabyte.Stream("sensor-nano")
            records = list(stream.lines(b"".join(iter(lambda text=text: text.read(1 << 20), b""))))
        found = table(expected / f"{file}.parquet")
        assert [(row["file"], row["line"]) for row in found] == [(file, number + 1) for number in range(len(records))]
        assert [row["bits"] for row in found] == [record.bits_per_byte for record in records]
        assert [row["flag"] for row in found] == [record.alarm for record in records]
        assert [row["worst_offset"] for row in found] == [record.worst.offset for record in records]
        flags += sum(row["flag"] for row in found)
    assert flags > 8
    assert pa.parquet.read_schema(expected / f"{files[0]}.parquet").remove_metadata() == score_folder.SCHEMA


def test_a_folder_is_read_as_one_table(expected: pathlib.Path) -> None:
    whole = pa.parquet.read_table(expected)
    assert whole.num_rows == sum(pa.parquet.read_metadata(expected / name).num_rows for name in tables(expected))


def test_long_lines_have_one_row(alone: Engine, tmp_path: pathlib.Path) -> None:
    (tmp_path / "logs").mkdir()
    line = b"temperature=21.5;" * 600
    text = line + b"\n" + line[:7000] + b"\x00" + line[7000:] + b"\nno end"
    (tmp_path / "logs/long.log").write_bytes(text)
    (tmp_path / "logs/none.log").touch()
    done = alone.run(tmp_path / "logs", tmp_path / "tables")
    assert done.returncode == 0, done.stderr
    found = table(tmp_path / "tables/long.log.parquet")
    assert [row["line"] for row in found] == [1, 2, 3]
    records = list(mambabyte.Stream("sensor-nano").lines(text))
    for row in found:
        pieces = [record for record in records if record.line == row["line"]]
        assert len(pieces) == (3, 3, 1)[row["line"] - 1]
        bits = sum(piece.bits_per_byte * piece.bytes for piece in pieces) / sum(piece.bytes for piece in pieces)
        assert abs(row["bits"] - bits) < 0.001 and row["flag"] == any(piece.alarm for piece in pieces)
        piece = next(
            piece for piece in pieces if piece.start <= pieces[0].start + row["worst_offset"] < piece.start + piece.bytes
        )
        assert piece.start + piece.worst.offset == pieces[0].start + row["worst_offset"]
        assert piece.worst.bits == max(other.worst.bits for other in pieces)
    assert found[1]["worst_offset"] > 4096
    assert table(tmp_path / "tables/none.log.parquet") == []


def test_options_reach_the_stream(folder: pathlib.Path, alone: Engine, tmp_path: pathlib.Path) -> None:
    (tmp_path / "logs").mkdir()
    file = tmp_path / "logs/one.log"
    file.write_bytes((folder / "west/roof/device-00.log").read_bytes()[:20000])
    blob = tmp_path / "model.mbb"
    blob.write_bytes(mambabyte.Model("sensor-pico").to_bytes())
    done = alone.run(tmp_path / "logs", tmp_path / "tables", "--model", blob, "--adapt", "off", "--false-alarms", "10%")
    assert done.returncode == 0, done.stderr
    records = list(mambabyte.Stream("sensor-pico", adapt=None, false_alarms="10%").lines(file.read_bytes()))
    found = table(tmp_path / "tables/one.log.parquet")
    assert [row["bits"] for row in found] == [record.bits_per_byte for record in records]
    assert [row["flag"] for row in found] == [record.alarm for record in records]


def test_what_cannot_be_done_is_refused_before_anything_is_written(
    folder: pathlib.Path, alone: Engine, tmp_path: pathlib.Path
) -> None:
    out, empty, file = tmp_path / "tables", tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    (empty / ".hidden").touch()
    file.write_bytes(b"a file\n")
    odd = tmp_path / "odd"
    odd.mkdir()
    (pathlib.Path(str(odd)) / b"caf\xe9.log".decode("utf-8", "surrogateescape")).write_bytes(b"text\n")
    before = tables(tmp_path)
    for words, said in (
        ((tmp_path / "missing", out), f"{tmp_path}/missing: no such folder"),
        ((file, out), f"{file}: no folder"),
        ((empty, out), f"{empty}: no files in this folder"),
        ((folder, file), f"{file}: no folder"),
        ((folder, folder), "none within the other"),
        ((folder, folder / "tables"), "none within the other"),
        ((folder / "east", folder), "none within the other"),
        ((odd, out), "is not UTF-8"),
        ((folder, out, "--model", tmp_path / "no-model"), "no-model"),
        ((folder, out, "--model", file), str(file)),
        ((folder, out, "--adapt", "17K"), "17K"),
        ((folder, out, "--false-alarms", "200%"), "200%"),
    ):
        done = alone.run(*words)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("error: ") and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert tables(tmp_path) == before and not out.exists()


@pytest.mark.parametrize("end", ["gz", "xz", "zst"])
def test_damaged_files_have_no_table(end: str, folder: pathlib.Path, alone: Engine, tmp_path: pathlib.Path) -> None:
    source = next(folder.rglob(f"*.{end}"))
    whole = source.read_bytes()
    broken = bytearray(whole)
    for place in range(len(whole) // 2, len(whole) // 2 + 64):
        broken[place] ^= 0x55
    (tmp_path / "logs").mkdir()
    bad = {f"broken.{end}": bytes(broken), f"cut.{end}": whole[: len(whole) // 2], f"other.{end}": b"no archive at all\n" * 9}
    for name, data in {**bad, f"whole.{end}": whole, "plain.log": gzip.compress(b"packed, but not by its name\n")}.items():
        (tmp_path / "logs" / name).write_bytes(data)
    done = alone.run(tmp_path / "logs", tmp_path / "tables")
    assert done.returncode == 1
    errors = done.stderr.splitlines()
    assert len(errors) == 3 and "Traceback" not in done.stderr
    for name in bad:
        assert any(error.startswith(f"error: {tmp_path}/logs/{name}: ") and len(error) > len(name) + 30 for error in errors), (
            errors
        )
    assert sorted(tables(tmp_path / "tables")) == ["plain.log.parquet", f"whole.{end}.parquet"]


def test_a_table_of_before_is_replaced_only_by_a_whole_one(folder: pathlib.Path, alone: Engine, tmp_path: pathlib.Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/a.gz").write_bytes(gzip.compress(b"one line\n" * 100))
    assert alone.run(tmp_path / "logs", tmp_path / "tables").returncode == 0
    before = tables(tmp_path / "tables")
    (tmp_path / "logs/a.gz").write_bytes(gzip.compress(b"another\n" * 10000)[:-30])
    assert alone.run(tmp_path / "logs", tmp_path / "tables").returncode == 1
    assert tables(tmp_path / "tables") == before
    (tmp_path / "logs/a.gz").write_bytes(gzip.compress(b"another\n" * 10))
    assert alone.run(tmp_path / "logs", tmp_path / "tables").returncode == 0
    assert len(table(tmp_path / "tables/a.gz.parquet")) == 10


def test_tables_that_cannot_be_written_are_named(folder: pathlib.Path, alone: Engine, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "tables"
    out.mkdir()
    (out / "east").write_bytes(b"in the way")
    done = alone.run(folder, out)
    errors = done.stderr.splitlines()
    assert done.returncode == 1 and len(errors) == 5 and all(error.startswith(f"error: {out}/east/") for error in errors), (
        errors
    )
    assert sorted(tables(out)) == [
        "east",
        *(f"west/roof/device-{name}.parquet" for name in ("00.log", "03.log.zst", "06.log.xz")),
    ]


def test_no_space_leaves_nothing_half_written(folder: pathlib.Path, alone: Engine, tmp_path: pathlib.Path) -> None:
    # Files of more than 8 KiB cannot be written.
    command = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *alone.command(folder, tmp_path / "tables")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    errors = done.stderr.splitlines()
    assert done.returncode == 1 and len(errors) == 8 and all("too large" in error for error in errors), errors
    assert tables(tmp_path / "tables") == {}
