"""What learning and pushing take: as measured, and as files have it."""

from contextlib import closing

import numpy as np
import pytest

from lorabench.errors import InputError
from lorabench.experiments.freshness.compute_model import ComputeModel, measure_handling
from lorabench.model.dlrm import DenseNet, DlrmShape
from lorabench.model.full import TrainedModel
from lorabench.model.tables import TableLayout, TableSet
from lorabench.strategies.deployment import Deployment, Pushes
from lorabench.strategies.registry import parse
from lorabench.updates.delta_files import write_delta
from lorabench.updates.delta_header import NamedTables
from lorabench.updates.link import Handling, Link, Scale, Sync


@pytest.fixture
def tables() -> TableSet:
    found = TableSet.create(TableLayout((20_000, 300), 16))
    rng = np.random.default_rng(0)
    for table in found.arrays:
        table[:] = rng.standard_normal(table.shape)
    return found


def test_both_encodings_are_measured_and_the_tables_stay_as_they_are(tables) -> None:
    before = [table.copy() for table in tables.arrays]
    found = measure_handling(tables)
    assert all(map(np.array_equal, tables.arrays, before))
    assert None not in (found.encode_int8_s_per_byte, found.apply_int8_s_per_byte)
    assert found.of_int8 != Handling(found.encode_s_per_byte, found.apply_s_per_byte)


def test_a_file_reads_back_with_either_encoding_or_one(tmp_path) -> None:
    file = tmp_path / "times.toml"
    for handling in (Handling(1e-10, 2e-10), Handling(1e-10, 2e-10, 3e-10, 4e-10)):
        model = ComputeModel({"cluster": 1e-5}, handling)
        file.write_text(model.text())
        assert ComputeModel.read(str(file)) == model
    assert Handling(1e-10, 2e-10).of_int8 == Handling(1e-10, 2e-10)
    file.write_text("[seconds_per_byte]\nencode_int4 = 1.0\n")
    with pytest.raises(InputError, match=r"found 'encode_int4' in .* encode_int8 and apply_int8"):
        ComputeModel.read(str(file))


def test_rows_in_8_bits_are_charged_as_such_when_sent_and_when_sent_again(tables, tmp_path) -> None:
    net = DenseNet(DlrmShape(2, 2, 16, (8,), (16,)))
    net.initialise(0)
    size = tables.layout.table_bytes
    sync = Sync(Link(np.inf), Scale(size, size), Handling(1e-6, 2e-6, 3e-6, 5e-6))
    took = {}
    with closing(Deployment(TrainedModel(tables, net, None), 0.2, Pushes(sync, 0.0))) as home:
        for name, encoding in (("delta", "fp32"), ("delta-int8", "int8")):
            folder = tmp_path / name
            with closing(parse(name).make(home)) as first:
                push = first.cluster.delta([np.arange(100, dtype=np.int32)] * 2, 1.0)
                took[name] = first.send(push, 1.0).cost
            write_delta(folder, 0, push, NamedTables(tables.layout), encoding)
            with closing(parse("deltas").given(folder=folder).make(home)) as again:
                again.advance(1.0)
                assert [one.cost for one in again._flights] == [took[name]]
    assert took["delta"].apply_s == pytest.approx(200 * (8 + 64) * 2e-6)
    assert took["delta-int8"].encode_s == pytest.approx(200 * (8 + 8 + 16) * 3e-6)
    assert took["delta-int8"].apply_s == pytest.approx(200 * (8 + 8 + 16) * 5e-6)
