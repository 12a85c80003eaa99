"""Training and evaluation: against plain loops, and independent of what trains alongside."""

import numpy as np
import pytest

from gpubn.data import Dataset, load
from gpubn.errors import ConfigError
from gpubn.nn.optim import linear_decay
from gpubn.nn.rng import batch_order, example_order, generator
from gpubn.nn.train import check_batch_fits, to_device
from tests.nn.networks import PLACEMENTS, Run, draw_weight, state

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
    centred = to_device(synthetic, backend, "float64", "centred")
    assert to_device(synthetic, backend, "float64", "centred") is centred
    assert abs(backend.to_host(centred.x_train).mean(axis=0)).max() < 1e-6
    assert backend.to_host(data.x_train).mean() > 0.4


@pytest.mark.parametrize(
    ("sample", "momentum"), [(0, 0.0), (70, 0.0), (200, 0.0), (201, 0.0), (0, 0.75)]
)
def test_training_is_the_plain_loop_over_the_seeds_own_sample_in_its_own_order(
    synthetic, backend, sample, momentum
):
    """Softmax regression on a ReLU layer, written out for one network at a time, float64."""
    options = {"activation": "relu", "dtype": "float64", "rate": 1, "sgd_momentum": momentum}
    run, seen = Run(synthetic, backend, [3, 1], schedule=linear_decay(40), **options), []
    losses = run.train(sample=sample, observe=seen.append)
    assert len(seen) == 20
    evaluated = run.evaluate()

    def passes(part, rows):
        x, y = (getattr(synthetic, f"{name}_{part}")[rows] for name in "xy")
        x = x.astype(np.float64)
        h = np.maximum(x @ w1 + b1, 0)
        p = np.exp(h @ w2 + b2)
        p /= p.sum(axis=1, keepdims=True)
        return x, y, h, p, -np.log(p[np.arange(len(y)), y]).mean()

    for r, seed in enumerate((3, 1)):
        w1, w2 = (
            draw_weight("glorot_normal", *fans, [seed], i)[0]
            for i, fans in enumerate([(12, WIDTH), (WIDTH, 4)])
        )
        b1, b2 = np.zeros(WIDTH), np.zeros(4)
        averages = [np.zeros_like(parameter) for parameter in (w1, b1, w2, b2)]
        own = example_order(seed, "train", 200)[:sample] if 0 < sample < 200 else np.arange(200)
        for step, places in enumerate(batch_order(seed, len(own), BATCH, 20)):
            x, y, h, p, loss = passes("train", own[places])
            assert losses[step, r] == pytest.approx(loss, rel=1e-10)
            dz2 = (p - np.eye(4)[y]) / BATCH
            dz1 = (dz2 @ w2.T) * (h > 0)
            rate = 1 - step / 40
            gradients = x.T @ dz1, dz1.sum(axis=0), h.T @ dz2, dz2.sum(axis=0)
            pairs = zip(averages, gradients, strict=True)
            averages = [momentum * a + (1 - momentum) * gradient for a, gradient in pairs]
            old = zip((w1, b1, w2, b2), averages, strict=True)
            w1, b1, w2, b2 = (parameter - rate * average for parameter, average in old)
        for found, right in zip(state(run.model), (w1, b1, w2, b2), strict=True):
            np.testing.assert_allclose(backend.to_host(found)[r], right, rtol=1e-9, atol=1e-12)
        _, y, _, p, loss = passes("test", slice(None))
        accuracy = (p.argmax(axis=1) == y).mean()
        assert [of_all[r] for of_all in evaluated] == pytest.approx([loss, accuracy], rel=1e-9)


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
        tensors = []
        for module in theirs:
            if isinstance(module, nn.Linear):
                tensors += [module.weight.T, module.bias]
            elif isinstance(module, nn.BatchNorm1d):
                tensors += [module.weight, module.bias, module.running_mean, module.running_var]
        for found, right in zip(state(run.model), tensors, strict=True):
            near = {"rtol": 1e-9, "atol": 1e-9}
            np.testing.assert_allclose(backend.to_host(found)[r], right.detach().numpy(), **near)
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


def test_masks_of_dropout_are_drawn_anew_in_replayed_steps_and_behind_them(
    synthetic, backend, same_bits
):
    replayed, observed = (Run(synthetic, backend, [0, 5], dropout=0.5) for _ in "12")
    assert replayed.model.replayable
    for steps in (14, 3):
        losses = replayed.train(steps)
        same_bits(losses, observed.train(steps, observe=lambda caches: None))
    x = replayed.data.x_train[:8][None].repeat(2, axis=0)
    same_bits(*(run.model.forward(x, training=True)[0] for run in (replayed, observed)))


def test_every_step_has_noise_of_its_own_also_where_training_goes_on(synthetic, backend):
    run, caches = Run(synthetic, backend, [3, 1], placement="before", kind="noisy"), []
    for steps in (3, 2):
        run.train(steps, observe=caches.append)
    drawn = [generator(s, "norm noise", 1).random((5, 2, WIDTH), np.float32) for s in (3, 1)]
    for step, of_step in enumerate(caches):
        scale = 1 + 0.25 * np.stack([of_seed[step, 0] for of_seed in drawn])
        np.testing.assert_allclose(backend.to_host(of_step[1].scale), scale, rtol=1e-6)
    assert len(caches) == 5


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
