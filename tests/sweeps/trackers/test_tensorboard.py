"""Event files, read back with TensorBoard's own reader."""

import signal
import threading

import numpy as np
import pytest

from gpubn.config import TrackerConfig
from gpubn.errors import StoreError
from gpubn.sweeps.trackers import make_tracker
from gpubn.sweeps.trackers.curves import Facts
from gpubn.sweeps.trackers.page import loss_png, tables

pytest.importorskip("tensorboardX", reason="tensorboardX is not installed (extra tensorboard)")
accumulators = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="TensorBoard is not installed (extra tensorboard)",
)


@pytest.fixture
def board(tmp_path):
    return make_tracker(TrackerConfig(name="tensorboard"), tmp_path)


@pytest.fixture
def shown(tmp_path):
    """The files that TensorBoard shows: by its rule, those with "tfevents" in their names."""
    return lambda: sorted(
        path for path in (tmp_path / "tensorboard").rglob("*") if "tfevents" in path.name
    )


def read(folder):
    everything = dict.fromkeys(("scalars", "images", "tensors"), 0)
    return accumulators.EventAccumulator(str(folder), size_guidance=everything).Reload()


def test_what_is_written_can_be_read_back(tmp_path, board, cell, result):
    from tensorboard.plugins.hparams import metadata

    board.report(cell(), result())
    facts = Facts.of(cell(), result().rows)
    found = read(tmp_path / "tensorboard" / "mnist_init" / cell().id)
    told = list(facts.scalars())
    assert set(found.Tags()["scalars"]) == {scalar.name for scalar in told}
    for name in found.Tags()["scalars"]:
        expected = [(step, np.float32(value)) for n, step, value in told if n == name]
        assert [(e.step, np.float32(e.value)) for e in found.Scalars(name)] == expected
    (image,) = found.Images("loss")
    assert image.encoded_image_string == loss_png(cell(), facts)
    assert image.width > image.height > 400
    (text,) = found.Tensors("cell/text_summary")
    assert text.tensor_proto.string_val[0].decode() == tables(facts)
    content = found.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    params = metadata.parse_session_start_info_plugin_data(content).hparams
    assert params["init"].string_value == "glorot"
    assert params["optim.rate"].number_value == 0.1
    # Of one cell: in its presence TensorBoard would look at no other cell's columns.
    assert metadata.EXPERIMENT_TAG not in found.Tags()["tensors"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_seed(tmp_path, board, cell, result, bad):
    rows = [row for row in result().rows if row.metric == "batch_loss"]
    object.__setattr__(rows[-1], "value", bad)
    board.report(cell(), result(of=rows))
    values = [event.value for event in read(next((tmp_path / "tensorboard").glob("*/*"))).Scalars(
        "batch_loss/mean"
    )]  # fmt: skip
    assert np.isfinite(values[:-1]).all()
    np.testing.assert_equal(values[-1], bad)


def test_the_same_result_is_written_once_and_another_takes_its_place(tmp_path, cell, result):
    config = TrackerConfig(name="tensorboard", uri=str(tmp_path / "elsewhere"))
    board = make_tracker(config, tmp_path / "results")
    folder = tmp_path / "elsewhere" / "mnist_init" / cell().id
    board.report(cell(), result("a"))
    board.report(cell(seeds=2), result("a"))
    (path,) = folder.iterdir()
    before = path.stat()
    board.report(cell(), result("a"))
    make_tracker(config, tmp_path).report(cell(), result("a"))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    board.report(cell(), result("b"))
    (other,) = folder.iterdir()
    assert other.suffix == ".b"
    (kept,) = folder.with_name(cell(seeds=2).id).iterdir()
    assert kept.suffix == ".a"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "code",
    [
        "import tensorboardX as x; x.RecordWriter.write = "
        "lambda self, data, left=list(range(5)): self._writer.write(data) if left.pop() else die()",
        "pathlib.Path.rename = die",
    ],
    ids=["half way through the records", "before it gets its name"],
)
def test_killed(tmp_path, start, board, shown, cell, result, code):
    process = start(code, "tensorboard", tmp_path, [(cell(), result())])
    assert process.wait(timeout=60) == -signal.SIGKILL
    folder = tmp_path / "tensorboard" / "mnist_init" / cell().id
    assert list(folder.iterdir()) != []
    assert shown() == []
    board.report(cell(), result())
    (path,) = shown()
    assert list(folder.iterdir()) == [path]
    facts = Facts.of(cell(), result().rows)
    assert set(read(folder).Tags()["scalars"]) == {name for name, *_ in facts.scalars()}


def test_reports_at_the_same_time(tmp_path, board, shown, cell, result):
    reports = [
        (cell(), result("a")),
        (cell(), result("b")),
        (cell(), result("a")),
        (cell(2), result()),
    ]
    threads = [threading.Thread(target=board.report, args=report) for report in reports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = shown()
    assert {first.parent.name, second.parent.name} == {cell().id, cell(2).id}
    for path in (first, second):
        assert list(path.parent.iterdir()) == [path]
        assert read(path.parent).Scalars("final/test_accuracy")


def test_no_room_is_one_sentence(tmp_path, board, cell, result):
    (tmp_path / "tensorboard").write_bytes(b"")
    with pytest.raises(StoreError, match=r"^[^\n]* cannot be locked \([^\n]*$"):
        board.report(cell(), result())
    (tmp_path / "tensorboard").unlink()
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "mnist_init").write_bytes(b"")
    with pytest.raises(StoreError, match=r"^[^\n]* cannot be written \([^\n]*$"):
        board.report(cell(), result())
