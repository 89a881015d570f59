"""Files and folders of tensors, in every form that people have, whole and damaged."""

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from lorabench.errors import InputError
from lorabench.model.stored.opening import open_stored
from lorabench.model.stored.tensors import Piece, joined, plain

TABLE = torch.arange(60, dtype=torch.float32).reshape(12, 5)
BIAS = torch.tensor([1.5, -2.5])


def write_index(folder: Path, suffix: str, save: Callable[[dict[str, Tensor], Path], None]) -> Path:
    folder.mkdir()
    save({"users": TABLE}, folder / f"model-1-of-2.{suffix}")
    save({"bias": BIAS, "unused": BIAS + 1}, folder / f"model-2-of-2.{suffix}")
    files = {"users": f"model-1-of-2.{suffix}", "bias": f"model-2-of-2.{suffix}"}
    (folder / f"model.{suffix}.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


def write_shards(folder: Path, save: Callable[[Tensor, Path], None]) -> Path:
    """A table in four shards, each named by the row and column at which it begins."""
    folder.mkdir()
    for row, rows in ((0, 7), (7, 5)):
        for column, columns in ((0, 2), (2, 3)):
            part = TABLE[row : row + rows, column : column + columns].clone()
            save(part, folder / f"users_{row}_{column}")
    torch.save(BIAS, folder / "bias")
    (folder / "config.json").write_text("{}")
    return folder


def write_distributed(folder: Path) -> Path:
    import torch.distributed.checkpoint as dcp

    with pytest.warns(UserWarning, match="single process"):
        dcp.save({"users": TABLE, "bias": BIAS, "epoch": 3}, checkpoint_id=folder, no_dist=True)
    return folder


def write_torchsnapshot(folder: Path) -> Path:
    """As torchsnapshot has shards of two ranks: bare values, and a manifest of their shapes."""
    (folder / "sharded").mkdir(parents=True)
    manifest: dict[str, object] = {"0/app": {"type": "dict", "keys": ["users"]}}
    for rank, (row, rows) in enumerate(((0, 7), (7, 5))):
        name = f"sharded/users_{row}_0"
        (folder / name).write_bytes(TABLE[row : row + rows].numpy().tobytes())
        tensor = {
            "location": name,
            "serializer": "buffer_protocol",
            "dtype": "torch.float32",
            "shape": [rows, 5],
        }
        shard = {"offsets": [row, 0], "sizes": [rows, 5], "tensor": tensor}
        manifest[f"{rank}/users"] = {"type": "ShardedTensor", "shards": [shard]}
    torch.save(BIAS, folder / "bias")
    manifest["0/bias"] = {
        "type": "Tensor",
        "location": "bias",
        "serializer": "torch_save",
        "dtype": "torch.float32",
        "shape": [2],
    }
    text = json.dumps({"version": "0.1.0", "world_size": 2, "manifest": manifest})
    (folder / ".snapshot_metadata").write_text(text)
    return folder


def write_legacy(path: Path) -> Path:
    content = {"users": TABLE, "bias": BIAS}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def written(save: Callable[[], object], path: Path) -> Path:
    save()
    return path


def write_sharded_safetensors(folder: Path) -> Path:
    """As torch.distributed.checkpoint's HuggingFaceStorageWriter has the shards of two ranks."""
    folder.mkdir()
    for rank, (row, rows) in enumerate(((0, 7), (7, 5))):
        told = {"users": {"saved_offsets": [row, 0]}, "bias": {"saved_offsets": [0]}}
        save_file(
            {"users": TABLE[row : row + rows].clone(), **({} if rank else {"bias": BIAS})},
            folder / f"shard-{rank}.safetensors",
            {"DCP_SHARDING_INFO": json.dumps(told)},
        )
    return folder


BOTH = {"users": TABLE, "bias": BIAS}
FORMS: dict[str, Callable[[Path], Path]] = {
    "torch.save": lambda p: written(lambda: torch.save(BOTH, p / "a.pth"), p / "a.pth"),
    "torch.save, no suffix": lambda p: written(lambda: torch.save(BOTH, p / "a"), p / "a"),
    "torch before 1.6": lambda p: write_legacy(p / "a.bin"),
    "safetensors": lambda p: written(lambda: save_file(BOTH, p / "a.ckpt"), p / "a.ckpt"),
    "safetensors, index": lambda p: write_index(p / "a", "safetensors", save_file),
    "torch.save, index": lambda p: write_index(p / "a", "bin", torch.save),
    "shards of safetensors": lambda p: write_sharded_safetensors(p / "a"),
    "shards of torch.save": lambda p: write_shards(p / "a", torch.save),
    "shards of numpy": lambda p: write_shards(
        p / "a", lambda part, path: np.save(path.open("wb"), part.numpy())
    ),
    "distributed": lambda p: write_distributed(p / "a"),
    "torchsnapshot": lambda p: write_torchsnapshot(p / "a"),
    "torchsnapshot's shards": lambda p: write_torchsnapshot(p / "a") / "sharded",
    "torchsnapshot's manifest": lambda p: write_torchsnapshot(p / "a") / ".snapshot_metadata",
    "a shard of distributed": lambda p: write_distributed(p / "a") / "__0_0.distcp",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    found = open_stored(FORMS[form](tmp_path))
    assert set(found.tensors) >= {"users", "bias"}
    users = found.tensors["users"]
    assert (users.shape, users.dtype) == ((12, 5), torch.float32)
    assert torch.equal(users.rows(5, 9), TABLE[5:9])
    assert torch.equal(users.whole(), TABLE)
    assert torch.equal(found.tensors["bias"].whole(), BIAS)
    unread = ["config.json"] if form in ("shards of torch.save", "shards of numpy") else []
    assert [one.name for one in found.left_out] == unread


def test_an_index_decides_which_tensors_count(tmp_path: Path) -> None:
    folder = write_index(tmp_path / "a", "safetensors", save_file)
    for path in (folder, folder / "model.safetensors.index.json"):
        assert set(open_stored(path).tensors) == {"users", "bias"}
    (folder / "model-2-of-2.safetensors").unlink()
    with pytest.raises(InputError, match=r"found no file model-2-of-2.safetensors beside it"):
        open_stored(folder)


def test_tensors_in_nested_dicts_and_lists_have_dotted_names(tmp_path: Path) -> None:
    nested = {"model": {"emb": [TABLE, BIAS]}, "epoch": 3, 7: BIAS, "model.emb.0": BIAS}
    torch.save(nested, tmp_path / "a.pt")
    found = list(open_stored(tmp_path / "a.pt").tensors)
    assert found == ["model.emb.0", "model.emb.1", "7", "model.emb.0'"]


def test_numpy_scalars_beside_tensors_are_read_and_nothing_else_is_made(tmp_path: Path) -> None:
    scalars = [np.float64(0.5), np.float32(1), np.int64(3), np.bool_(True), np.str_("x")]
    torch.save({"users": TABLE, "acc": scalars, "kind": np.dtype("f4")}, tmp_path / "a.pt")
    assert list(open_stored(tmp_path / "a.pt").tensors) == ["users"]
    torch.save({"users": TABLE, "loss": np.zeros(3)}, tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"found a pickled numpy\.\S+_reconstruct, which"):
        open_stored(tmp_path / "b.pt")


class Payload:
    """Unpickles to a call: a checkpoint that would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not run",)


def refused(path: Path, *expected: str) -> None:
    with pytest.raises(InputError) as caught:
        open_stored(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert said.isprintable(), said
    for text in ("expected", *expected):
        assert text in said


@pytest.mark.parametrize("legacy", [False, True])
def test_classes_are_refused_by_their_name_and_never_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], legacy: bool
) -> None:
    import argparse

    for content, name in (
        (Payload(), "print"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"args": argparse.Namespace(a=1), "users": TABLE}, "argparse.Namespace"),
    ):
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
        refused(tmp_path / "a.pt", "found a pickled", name, "torch.save(model.state_dict(), FILE)")
    assert "must not run" not in capfd.readouterr().out


def test_what_holds_no_tensors_is_refused_with_a_way_out(tmp_path: Path) -> None:
    import pickle

    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script")  # type: ignore[no-untyped-call]
    np.savez(tmp_path / "many.npz", a=TABLE.numpy())
    torch.save({"epoch": 3}, tmp_path / "none")
    contents = {
        "empty": b"",
        "text": b"not a checkpoint\n",
        "zipped": b"\x1f\x8b\x08\x00more",
        "pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "pickle": pickle.dumps({"users": [1.0]}),
        "escape": b"\x1b[31mred",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name, *expected in (
        ("script", "TorchScript", "torch.jit.load(FILE).state_dict()"),
        ("many.npz", "numpy.savez", "numpy.save"),
        ("none", "without a tensor in it"),
        ("empty", "an empty file"),
        ("text", "b'not a ch'"),
        ("zipped", "gunzip"),
        ("pointer", "git lfs pull"),
        ("pickle", "a plain pickle", "torch.save"),
        ("escape", "begins with"),
        ("absent", "no such file or folder"),
    ):
        refused(tmp_path / name, *expected)


def test_folders_that_lack_something_are_refused_with_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "an empty folder")
    (tmp_path / "outer" / "epoch-3").mkdir(parents=True)
    refused(tmp_path / "outer", "epoch-3/")
    distributed = write_distributed(tmp_path / "distributed")
    metadata = (distributed / ".metadata").read_bytes()
    (distributed / ".metadata").unlink()
    refused(distributed, "without their .metadata")
    (distributed / ".metadata").write_bytes(metadata.replace(b"Metadata", b"Metadate"))
    with pytest.raises(InputError, match=r"no more than what torch\.distributed\.checkpoint"):
        open_stored(distributed)
    bare = write_torchsnapshot(tmp_path / "bare")
    (bare / ".snapshot_metadata").unlink()
    refused(bare / "sharded", "bare shards", ".snapshot_metadata")
    for name, message in (("users_7_2", "found 45 values in 3 shards"), ("users_0_0", "found 46")):
        shards = write_shards(tmp_path / f"without {name}", torch.save)
        (shards / name).unlink()
        for left in list(shards.glob("users*")):
            left.rename(shards / left.name.replace("users", "users.weight"))
        with pytest.raises(InputError, match=message):
            open_stored(shards)


def test_two_files_with_one_tensor_are_refused(tmp_path: Path) -> None:
    for rank in range(2):
        torch.save({"users": TABLE}, tmp_path / f"rank{rank}.pt")
    refused(tmp_path, "found the tensor users in rank1.pt and in another file")


def test_a_metadata_pickle_makes_no_class_of_its_own(tmp_path: Path, capfd) -> None:
    import pickle

    (tmp_path / ".metadata").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(InputError, match=r"found a pickled builtins\.print"):
        open_stored(tmp_path)
    assert "must not run" not in capfd.readouterr().out


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_one_line_or_does_no_harm(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    whole = [name for name in FORMS if "index" not in name and "'s" not in name]
    form = data.draw(st.sampled_from(whole))
    made = FORMS[form](folder)
    files = sorted(p for p in (made if made.is_dir() else folder).rglob("*") if p.is_file())
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    said = ""
    try:
        for tensor in open_stored(made).tensors.values():
            tensor.whole()
    except InputError as error:
        said = str(error)
    assert said.isprintable(), said
    shutil.rmtree(folder)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[Tensor, list[Piece]]:
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    whole = torch.arange(rows * columns, dtype=torch.float32).reshape(rows, columns)
    cuts = [0, *sorted(draw(st.sets(st.integers(1, rows), max_size=3)) - {rows}), rows]
    pieces = []
    for top, bottom in pairwise(cuts):
        at = draw(st.integers(0, columns))
        for left, right in ((0, at), (at, columns)):
            if left < right:
                tensor = plain(whole[top:bottom, left:right])
                assert not isinstance(tensor, str)
                pieces.append(Piece((top, left), tensor))
    return whole, draw(st.permutations(pieces))


@given(tilings(), st.integers(0, 9), st.integers(0, 9))
def test_pieces_make_the_whole_and_any_part_of_it(
    tiling: tuple[Tensor, list[Piece]], begin: int, end: int
) -> None:
    whole, pieces = tiling
    begin, end = sorted((min(begin, len(whole)), min(end, len(whole))))
    assert torch.equal(joined("a", pieces).tensor.rows(begin, end), whole[begin:end])
    if len(pieces) > 1:
        with pytest.raises(InputError, match=r"^a: found \d+ values in"):
            joined("a", pieces[1:], tuple(whole.shape))
        wrong = [Piece((p.offsets[0], 0), p.tensor) for p in pieces]
        if len({p.offsets for p in wrong}) == len(wrong) and wrong != pieces:
            with pytest.raises(InputError):
                joined("a", wrong, tuple(whole.shape))


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_tensors_give_dense_rows(tmp_path: Path, layout: torch.layout) -> None:
    kept = TABLE * (TABLE % 3 == 0)
    sparse = kept.to_sparse() if layout == torch.sparse_coo else kept.to_sparse_csr()
    torch.save({"users": sparse}, tmp_path / "a.pt")
    users = open_stored(tmp_path / "a.pt").tensors["users"]
    assert users.form == "sparse"
    assert torch.equal(users.rows(3, 8), kept[3:8])
    assert torch.equal(users.whole(), kept)


def test_quantised_tensors_give_their_values(tmp_path: Path) -> None:
    scales, zeros = torch.linspace(0.1, 0.5, 12), torch.linspace(1, 9, 12)
    schemes = {
        "tensor": torch.quantize_per_tensor(TABLE, 0.5, 3, torch.quint8),
        "rows": torch.quantize_per_channel(TABLE, scales, zeros.long(), 0, torch.qint8),
        "floats": torch.quantize_per_channel(TABLE, scales, zeros, 0, torch.quint8),
    }
    torch.save(schemes, tmp_path / "a.pt")
    found = open_stored(tmp_path / "a.pt").tensors
    for name, quantised in schemes.items():
        torch.testing.assert_close(found[name].rows(3, 8), quantised.dequantize()[3:8])


def test_what_torchsnapshot_itself_wrote_is_read(tmp_path: Path) -> None:
    torchsnapshot = pytest.importorskip("torchsnapshot", reason="make install brings torchsnapshot")
    model = nn.ModuleDict({"users": nn.Embedding(300, 16), "fc": nn.Linear(16, 2)})
    torchsnapshot.Snapshot.take(str(tmp_path / "a"), {"app": model})
    found = open_stored(tmp_path / "a").tensors
    for name, value in model.state_dict().items():
        assert torch.equal(found[f"app.{name}"].whole(), value)
