"""Documents on disk: round trip, whole or not at all, one clear line when they are bad."""

import gzip
import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from lorabench.errors import InputError
from lorabench.results.files import (
    check_apart,
    check_folder,
    check_writable,
    documents_in,
    newest_result,
    print_json,
    put,
    read_result,
    write_folder,
    write_raw,
    write_result,
)
from lorabench.results.parse import MOST_BYTES
from lorabench.results.schema import Metric, Program, Result, Series, config_hash, new_id


def example() -> Result:
    return Result(
        command="colocate",
        id=new_id(),
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        lorabench=Program(version="0.1.0"),
        config={"rounds": 2, "load": 0.5},
        config_hash=config_hash({"rounds": 2, "load": 0.5}),
        environment={"cpu": {"arch": "X86_64"}},
        rounds=[],
        metrics=[
            Metric(
                name="latency_p99",
                condition="solo",
                unit="s",
                better="lower",
                values=[0.1, None],
                estimate=0.1,
                ci95=None,
            )
        ],
        claims=[],
        unavailable=[],
        series=[],
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    result = example()
    write_result(result, tmp_path / "out.json")
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert read_result(tmp_path / "out.json") == result
    assert json.loads((tmp_path / "out.json").read_text())["schema"] == "lorabench.result/2"


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_result(example(), tmp_path / "out.json")
    before = (tmp_path / "out.json").read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match="No space left on device"):
        write_result(example(), tmp_path / "out.json")
    assert (tmp_path / "out.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_does_not_get_into_a_document(value: float) -> None:
    with pytest.raises(ValidationError):
        Metric.model_validate(example().metrics[0].model_dump() | {"values": [value]})
    with pytest.raises(ValidationError):
        Series(name="s", condition="solo", x=[0.0], y=[value], x_unit="s", y_unit="s")
    for part in ("config", "environment"):
        with pytest.raises(ValidationError, match=rf"{part}\n.*JSON compliant"):
            Result.model_validate(dict(example()) | {part: {"a": [{"b": value}]}})
    with pytest.raises(ValueError, match="JSON compliant"):
        config_hash({"load": value})


def test_a_series_has_as_many_x_as_y() -> None:
    with pytest.raises(ValidationError, match="found 2 x and 1 y"):
        Series(name="s", condition="solo", x=[0.0, 1.0], y=[0.0], x_unit="s", y_unit="s")


def broken(change: dict[str, object]) -> str:
    return json.dumps(json.loads(example().model_dump_json(by_alias=True)) | change)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1,\n  b}', "line 2, column 3: found no JSON"),
        ("[1]", "schema: found None, expected 'lorabench.result/2'"),
        ('{"schema": "other/2"}', "schema: found 'other/2'"),
        (broken({"rounds": 3}), "rounds: found 3"),
        ('{"schema": "lorabench.result/2", "schema": 1}', "the key 'schema' twice in one object"),
        (broken({}).replace('"latency_p99"', '"latency\n"'), "found no JSON (Invalid control"),
        (broken({"x\x1b\ny": 3}), "x\\x1b y: found a key that lorabench.result/2 does not have"),
        (broken({"extra": 3}), "extra: found a key that lorabench.result/2 does not have"),
        (broken({"metrics": [{"name": 1}]}), "metrics.0.name: found 1"),
        (broken({"rounds": [{}]}), "rounds.0.index: found nothing, expected a value (and 7 more)"),
        (broken({"created": "2026-01-02T03:04:05"}), "created: found '2026-01-02T03:04:05'"),
        (broken({}).replace("0.5", "NaN", 1), "found no usable JSON (the number NaN)"),
        (broken({}).replace("0.5", "1e999", 1), "no usable JSON (a number that is too large)"),
        (broken({}).replace("0.5", "9" * 5000, 1), "found no usable JSON (Exceeds the limit"),
        ("[" * 100_000, "found no usable JSON (nested deeper than 32)"),
        ("", "line 1, column 1: found no JSON"),
    ],
)
def test_a_bad_document_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_result(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(b"{\xff}")
    with pytest.raises(InputError, match="found no text, expected a result document"):
        read_result(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(InputError, match=r"found no usable JSON .a gzip file; unpack"):
        read_result(tmp_path / "bad.json")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    """Reading one may never end."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(InputError, match="found a device or pipe, expected a result document"):
            read_result(path)
    with pytest.raises(InputError, match="found a folder, expected a result document"):
        read_result(tmp_path)
    with pytest.raises(InputError, match="found no name of a file, expected a result document"):
        read_result(tmp_path / "a\0b")


def test_a_document_larger_than_any_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match="found more than 67,108,864 bytes, the most that is read"):
        read_result(path)


def test_what_no_longer_validates_is_not_written(tmp_path: Path) -> None:
    """`model_copy` checks nothing, so writing does."""
    metric = example().metrics[0].model_copy(update={"estimate": float("nan")})
    with pytest.raises(ValidationError):
        write_result(example().model_copy(update={"metrics": [metric]}), tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_free_form_parts_are_held_as_they_are_read_back(tmp_path: Path) -> None:
    fields = dict(example()) | {"config": {"cpus": (0, 1)}}
    result = Result.model_validate(fields)
    assert result.config == {"cpus": [0, 1]}
    write_result(result, tmp_path / "out.json")
    assert read_result(tmp_path / "out.json") == result


def test_a_missing_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory; expected a result document"):
        read_result(tmp_path / "absent.json")


def test_whether_an_output_can_be_written_is_found_out_without_a_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="found a folder"):
        check_writable(tmp_path)
    check_writable(tmp_path / "new" / "newer" / "out.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for below in ("out.json", "new/out.json"):
        with pytest.raises(InputError, match="cannot be written"):
            check_writable(tmp_path / "file" / below)
    with pytest.raises(InputError, match="File name too long"):
        check_writable(tmp_path / ("x" * 300))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_existing_document_may_be_written_anew(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("old")
    check_writable(tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == "old"


def test_a_device_is_not_replaced_by_a_document() -> None:
    with pytest.raises(InputError, match="/dev/null: found a device or pipe"):
        check_writable(Path("/dev/null"))


def test_a_read_only_file_system_is_found_out() -> None:
    with pytest.raises(InputError, match=r"/proc/1/out\.json: cannot be written"):
        check_writable(Path("/proc/1/out.json"))


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    result = example()
    write_result(result, tmp_path / "new" / "newer" / "out.json")
    assert read_result(tmp_path / "new" / "newer" / "out.json") == result


def test_a_file_in_place_of_the_folder_is_refused_in_writing_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_raw(tmp_path / "file" / "out.npz", {"a": np.arange(3)})


def test_raw_samples_are_read_back_and_their_hash_is_the_files(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "out.npz"
    digest = write_raw(path, {"round0/solo/done_ns": np.arange(5)})
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(np.load(path)["round0/solo/done_ns"], np.arange(5))


def test_the_config_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})


def test_ids_sort_by_time() -> None:
    early = new_id(datetime(2026, 1, 1, tzinfo=UTC))
    late = new_id(datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert early < late
    assert new_id() != new_id()


def test_the_newest_result_is_the_one_whose_name_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no colocate-\*\.json of a run, expected one"):
        newest_result("colocate-*.json", tmp_path)
    for name in (
        "colocate-20260102T030405-ffffff",
        "colocate-20260103T000000-000000",
        "doctor-20260104T000000-000000",
        "doctor-3",
        "mine",
    ):
        (tmp_path / f"{name}.json").touch()
    found = newest_result("colocate-*.json", tmp_path)
    assert found.name == "colocate-20260103T000000-000000.json"
    assert newest_result(folder=tmp_path).name == "doctor-20260104T000000-000000.json"


def test_suites_for_pyperf_are_no_documents_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "a.pyperf.json", "a.npz", "a.html"):
        (tmp_path / name).touch()
    assert [path.name for path in documents_in(tmp_path)] == ["a.json", "b.json"]
    with pytest.raises(InputError, match="none: cannot be read"):
        documents_in(tmp_path / "none")


def test_a_folder_of_logs_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.mlperf"
    write_folder(path, {"a/mlperf_log_detail.txt": b"one"})
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if target == path and ".old." not in self.name:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(InputError, match="No space left"):
        write_folder(path, {"b/mlperf_log_detail.txt": b"two"})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["out.mlperf"]
    assert (path / "a" / "mlperf_log_detail.txt").read_bytes() == b"one"


@pytest.mark.parametrize("kind", ["file", "link", "foreign"])
def test_what_is_no_folder_of_logs_is_not_replaced_by_one(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "out.mlperf", tmp_path / "other"
    other.mkdir()
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(other)
    else:
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"out\.mlperf: found .*, expected a folder of logs"):
        check_folder(path)


@pytest.mark.parametrize("read", ["a.json", "."])
@pytest.mark.parametrize("target", ["a.json", "a.npz", "link.json"])
def test_what_is_read_is_not_written(tmp_path: Path, read: str, target: str) -> None:
    for name in ("a.json", "a.npz"):
        (tmp_path / name).touch()
    (tmp_path / "link.json").symlink_to("a.json")
    with pytest.raises(InputError, match=f"{target}: found what is read, expected another file"):
        check_apart(tmp_path / target, [tmp_path / read])
    check_apart(tmp_path / "new.json", [tmp_path / read])
    (tmp_path / "index.html").touch()
    check_apart(tmp_path / "index.html", [tmp_path / read])


def test_stdout_gets_utf_8_whatever_it_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", page)
    print("first", file=page)
    put(None, "\u2713 met, µs\n")
    assert page.buffer.getvalue().decode() == "first\n\u2713 met, µs\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "UTF8", "gbk"])
def test_json_is_what_it_says_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    page = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", page)
    text = json.dumps({"µ": "→ \N{GRINNING FACE} \x7f \\"}, ensure_ascii=False)
    print_json(text)
    page.flush()
    said = page.buffer.getvalue().decode(encoding)
    assert json.loads(said) == json.loads(text)
    assert said.isascii() or said == f"{text}\n"


def test_names_of_files_are_text_wherever_they_are_told(tmp_path: Path) -> None:
    """Of bytes that a locale without UTF-8 reads none, or that are none."""
    put(tmp_path / "told", "read \udcc3\udca4.json and \udcff.json of µ")
    assert (tmp_path / "told").read_text("utf-8") == r"read ä.json and \xff.json of µ"
