"""Training and evaluation: against plain loops, and independent of what trains alongside."""

import numpy as np
import pytest

from gpubn.data import Dataset, load
from gpubn.errors import ConfigError
from gpubn.nn.layers import Affine
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.optim import linear_decay
from gpubn.nn.rng import batch_order, example_order
from gpubn.nn.train import check_batch_fits, to_device
from tests.nn.networks import PLACEMENTS, Run, build, draw_weight

WIDTH, BATCH = Run.WIDTH, Run.BATCH


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def synthetic():
    """Labels that a network can learn; needs nothing but NumPy."""
    rng = np.random.default_rng(0)
    x = rng.random((300, 12)).astype(np.float32)
    y = (4 * x[:, :3].mean(axis=1)).astype(np.int64)
    return Dataset("synthetic", x[:200], y[:200], x[200:], y[200:], 4)


def test_a_dataset_is_moved_once_and_its_inputs_have_the_dtype(synthetic, backend):
    data = to_device(synthetic, backend, "float64")
    assert to_device(synthetic, backend, "float64") is data
    arrays = [data.x_train, data.y_train, data.x_test, data.y_test]
    assert [str(array.dtype) for array in arrays] == ["float64", "int64"] * 2


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_parity_with_torch(synthetic, backend, placement):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)  # two wait for each other where the machine is busy
    nn, seeds, norm = torch.nn, [3, 1], {"eps": 1e-5, "momentum": 0.1}
    options = {"placement": placement, "depth": 2, "dtype": "float64", **norm}
    run = Run(synthetic, backend, seeds, schedule=linear_decay(60), **options)
    losses, evaluated = run.train(30), run.evaluate()
    for r, seed in enumerate(seeds):
        sizes, layers = [12, WIDTH, WIDTH, 4], []
        for i in range(3):
            linear_layer = nn.Linear(sizes[i], sizes[i + 1], dtype=torch.float64)
            weight = draw_weight("glorot_normal", sizes[i], sizes[i + 1], [seed], i)[0]
            with torch.no_grad():
                linear_layer.weight.copy_(torch.tensor(weight.T))
                linear_layer.bias.zero_()
            bn = nn.BatchNorm1d(sizes[i + 1], **norm, dtype=torch.float64)
            block = {"none": [nn.Tanh()], "before": [bn, nn.Tanh()], "after": [nn.Tanh(), bn]}
            layers += [linear_layer, *(block[placement] if i < 2 else [])]
        theirs = nn.Sequential(*layers)
        for step, rows in enumerate(batch_order(seed, 200, BATCH, 30)):
            x = torch.tensor(synthetic.x_train[rows], dtype=torch.float64)
            loss = nn.functional.cross_entropy(theirs(x), torch.tensor(synthetic.y_train[rows]))
            gradients = torch.autograd.grad(loss, [*theirs.parameters()])
            with torch.no_grad():  # plain, as the import of torch.optim takes seconds
                for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
                    parameter -= 0.5 * (1 - step / 60) * gradient
            assert losses[step, r] == pytest.approx(loss.item(), rel=1e-9)
        for ours, module in zip(run.model.layers, theirs, strict=True):
            params, pairs = ours.params, []
            if isinstance(ours, Affine):
                pairs = [(params["weight"][r].T, module.weight), (params["bias"][r], module.bias)]
            elif isinstance(ours, BatchNorm):
                pairs = [
                    (params["gamma"][r], module.weight),
                    (params["beta"][r], module.bias),
                    (ours.running_mean[r], module.running_mean),
                    (ours.running_var[r], module.running_var),
                ]
            for a, b in pairs:
                np.testing.assert_allclose(
                    backend.to_host(a), b.detach().numpy(), rtol=1e-9, atol=1e-9
                )
        theirs.eval()
        logits = theirs(torch.tensor(synthetic.x_test, dtype=torch.float64))
        loss = nn.functional.cross_entropy(logits, torch.tensor(synthetic.y_test)).item()
        accuracy = (logits.argmax(dim=1).numpy() == synthetic.y_test).mean()
        assert [of_all[r] for of_all in evaluated] == pytest.approx([loss, accuracy], rel=1e-9)


def test_the_probe_sees_the_network_before_its_step_and_changes_nothing(digits, backend, same_bits):
    run, quiet, shorter = (Run(digits, backend, [0]) for _ in "123")
    seen, ticks, calls = {}, [], []

    def probe(step):
        assert sum(ticks) == step  # so many updates were finished
        seen[step] = backend.to_host(run.model.layers[0].params["weight"]).copy()

    losses = run.train(7, probe_at={3, 0, 7, 99}, probe=probe, tick=ticks.append)
    assert [*seen] == [0, 3, 7]
    assert (seen[0] == draw_weight("glorot_normal", 64, WIDTH, [0], 0).astype(np.float32)).all()
    same_bits(quiet.train(7), losses)
    shorter.train(3)
    for step, other in ((3, shorter), (7, quiet)):
        same_bits(seen[step], other.model.layers[0].params["weight"])
    shorter.train(7, probe_at=[5], probe=calls.append)
    assert calls == [5]  # not at the end, unless asked to


def test_masks_of_dropout_are_drawn_anew_although_steps_could_be_replayed(
    synthetic, backend, same_bits
):
    replayable, observed = (Run(synthetic, backend, [0], dropout=0.5) for _ in "12")
    losses = replayable.train(14)
    same_bits(losses, observed.train(14, observe=lambda caches: None))
    assert not replayable.model.replayable
    assert build(backend, placement="before").replayable


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_divergence_is_recorded_and_stays_in_its_replica(digits, backend, placement):
    # Warnings are errors in this suite: nothing may be warned about either.
    options = {"placement": placement, "activation": "relu"}
    run = Run(digits, backend, [0, 1], rate=[1e30, 0.1], **options)
    losses = run.train(6)
    assert not np.isfinite(losses[-1, 0])
    assert np.isfinite(losses[0]).all()
    alone = Run(digits, backend, [1], rate=0.1, **options).train(6)
    np.testing.assert_allclose(losses[:, [1]], alone, rtol=1e-6)
    loss, accuracy = run.evaluate()
    assert np.isfinite(loss).tolist() == [False, True]
    assert (accuracy >= 0).all()


@pytest.mark.parametrize(("sample", "most"), [(0, 1437), (31, 31), (1437, 1437), (2000, 1437)])
def test_a_batch_must_fit_the_data_and_the_sample(digits, sample, most):
    check_batch_fits(most, digits, sample)
    text = f"optim.batch is {most + 1}; expected at most {most}, the number of training examples of"
    with pytest.raises(ConfigError, match=f"^{text} digits$"):
        check_batch_fits(most + 1, digits, sample)


@pytest.mark.parametrize(("sample", "batch"), [(0, 8), (40, 40), (10, 3), (100, 8), (101, 8)])
def test_a_seed_trains_on_its_own_sample_in_its_own_order(backend, sample, batch):
    """The first feature of an example is its number over 256."""
    x = np.random.default_rng(1).random((120, 5)).astype(np.float32)
    x[:, 0] = np.arange(120) / 256
    numbered = Dataset("numbered", x[:100], np.arange(100) % 3, x[100:], np.arange(20) % 3, 3)
    found = []

    def observe(caches):
        found.append(np.rint(backend.to_host(caches[0].x)[..., 0] * 256).astype(int))

    Run(numbered, backend, [3, 8]).train(12, batch, sample=sample, observe=observe)
    for r, seed in enumerate((3, 8)):
        all_of_them = not 0 < sample < 100
        own = np.arange(100) if all_of_them else example_order(seed, "train", 100)[:sample]
        expected = own[batch_order(seed, len(own), batch, 12)]
        assert (np.stack(found)[:, r] == expected).all()
