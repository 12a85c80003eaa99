"""Training and evaluation: against plain loops, and independent of what trains alongside."""

import numpy as np
import pytest

from gpubn.backend import Cancelled, resolve
from gpubn.config import InitConfig, ModelConfig, NormConfig
from gpubn.data import Dataset, load
from gpubn.errors import ConfigError
from gpubn.nn.layers import Affine
from gpubn.nn.model import build_mlp
from gpubn.nn.norms.batch_norm import BatchNorm
from gpubn.nn.optim import SGD, constant_rate, linear_decay
from gpubn.nn.rng import batch_order, example_order
from gpubn.nn.train import check_batch_fits, loss_and_accuracy, to_device, train
from tests.nn.weights import draw_weight

PLACEMENTS = ["none", "before", "after"]
WIDTH, BATCH = 16, 32


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


class Run:
    """A network, trained when it is made."""

    def __init__(self, dataset, backend, seeds, *, placement="none", steps=20, **options):
        self.backend = backend
        dtype, rate = options.pop("dtype", "float32"), options.pop("rate", 0.5)
        activation = options.pop("activation", "tanh")
        self.schedule = options.pop("schedule", constant_rate)
        self.model = build_mlp(
            ModelConfig(depth=options.pop("depth", 1), width=WIDTH, activation=activation),
            NormConfig(name=placement, placement=placement, **options.pop("norm", {})),
            InitConfig(),
            features=dataset.features,
            classes=dataset.classes,
            seeds=seeds,
            backend=backend,
            dtype=dtype,
        )
        self.data = to_device(dataset, backend, dtype)
        sgd = SGD(rate, self.schedule, 0.0, backend, dtype)
        batch = options.pop("batch", BATCH)
        self.losses = train(
            self.model, sgd, self.data, backend, seeds=seeds, batch=batch, steps=steps, **options
        )

    def evaluate(self, chosen=None, **options):
        """On the test set, all of it unless a choice is made."""
        x, y = self.data.x_test, self.data.y_test
        chosen = np.stack([np.arange(len(x))] * self.losses.shape[1]) if chosen is None else chosen
        return loss_and_accuracy(self.model, x, y, chosen, self.backend, **options)

    def state(self):
        """Every parameter and running statistic, in order."""
        for layer in self.model.layers:
            yield from layer.params.values()
            if isinstance(layer, BatchNorm):
                yield from (layer.running_mean, layer.running_var)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_loss_falls(digits, backend, placement):
    losses = Run(digits, backend, [0, 1], placement=placement, steps=150).losses
    assert (losses[-20:].mean(axis=0) < 0.25 * losses[:3].mean(axis=0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_shape_of_the_losses(digits, backend, dtype):
    losses = Run(digits, backend, [4, 9, 2], steps=7, dtype=dtype).losses
    assert type(losses) is np.ndarray
    assert losses.shape == (7, 3)
    assert losses.dtype == dtype


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("dtype", "sample"), [("float32", 0), ("float64", 0), ("float32", 50)])
def test_a_seed_gives_the_same_bits_whatever_trains_with_it(
    digits, backend, same_bits, placement, dtype, sample
):
    options = {"placement": placement, "dtype": dtype, "sample": sample}
    together = Run(digits, backend, [5, 0, 3], **options)
    for seeds in ([5], [3], [3, 5], [5, 0, 3]):
        other = Run(digits, backend, seeds, **options)
        columns = [[5, 0, 3].index(s) for s in seeds]
        same_bits(other.losses, together.losses[:, columns])
        for one, all_of_them in zip(other.state(), together.state(), strict=True):
            same_bits(one, all_of_them[columns])
    assert not (together.losses[:, 0] == together.losses[:, 1]).any()


@pytest.mark.parametrize("sample", [0, 70])
def test_training_is_the_plain_loop(synthetic, backend, sample):
    """Softmax regression on a ReLU layer, written out for one network at a time, float64."""
    options = {"activation": "relu", "dtype": "float64", "rate": 1, "sample": sample}
    run = Run(synthetic, backend, [3, 1], schedule=linear_decay(40), **options)
    for r, seed in enumerate((3, 1)):
        w1, w2 = (
            draw_weight("glorot_normal", *fans, [seed], i)[0]
            for i, fans in enumerate([(12, WIDTH), (WIDTH, 4)])
        )
        b1, b2 = np.zeros(WIDTH), np.zeros(4)
        own = example_order(seed, "train", 200)[:sample] if sample else np.arange(200)
        for step, places in enumerate(batch_order(seed, len(own), BATCH, 20)):
            rows = own[places]
            x, y = synthetic.x_train[rows].astype(np.float64), synthetic.y_train[rows]
            h = np.maximum(x @ w1 + b1, 0)
            p = np.exp(h @ w2 + b2)
            p /= p.sum(axis=1, keepdims=True)
            loss = -np.log(p[np.arange(BATCH), y]).mean()
            assert run.losses[step, r] == pytest.approx(loss, rel=1e-10)
            dz2 = (p - np.eye(4)[y]) / BATCH
            dz1 = (dz2 @ w2.T) * (h > 0)
            rate = 1 - step / 40
            w2, b2 = w2 - rate * h.T @ dz2, b2 - rate * dz2.sum(axis=0)
            w1, b1 = w1 - rate * x.T @ dz1, b1 - rate * dz1.sum(axis=0)
        for found, right in zip(run.state(), (w1, b1, w2, b2), strict=True):
            np.testing.assert_allclose(backend.to_host(found)[r], right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_parity_with_torch(synthetic, placement):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn, seeds, norm = torch.nn, [3, 1], {"eps": 1e-5, "momentum": 0.1}
    options = {"placement": placement, "norm": norm, "depth": 2, "dtype": "float64"}
    backend = resolve("numpy")
    run = Run(synthetic, backend, seeds, steps=30, schedule=linear_decay(60), **options)
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
        sgd = torch.optim.SGD(theirs.parameters(), lr=0.5)
        for step, rows in enumerate(batch_order(seed, 200, BATCH, 30)):
            sgd.param_groups[0]["lr"] = 0.5 * (1 - step / 60)
            sgd.zero_grad()
            x = torch.tensor(synthetic.x_train[rows], dtype=torch.float64)
            loss = nn.functional.cross_entropy(theirs(x), torch.tensor(synthetic.y_train[rows]))
            loss.backward()
            sgd.step()
            assert run.losses[step, r] == pytest.approx(loss.item(), rel=1e-9)
        for ours, module in zip(run.model.layers, theirs, strict=True):
            pairs = []
            if isinstance(ours, Affine):
                params = ours.params
                pairs = [(params["weight"][r].T, module.weight), (params["bias"][r], module.bias)]
            elif isinstance(ours, BatchNorm):
                pairs = [
                    (ours.params["gamma"][r], module.weight),
                    (ours.params["beta"][r], module.bias),
                    (ours.running_mean[r], module.running_mean),
                    (ours.running_var[r], module.running_var),
                ]
            for a, b in pairs:
                np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-9, atol=1e-9)
        theirs.eval()
        logits = theirs(torch.tensor(synthetic.x_test, dtype=torch.float64))
        loss = nn.functional.cross_entropy(logits, torch.tensor(synthetic.y_test)).item()
        accuracy = (logits.argmax(dim=1).numpy() == synthetic.y_test).mean()
        found = run.evaluate()
        assert found[0][r] == pytest.approx(loss, rel=1e-9)
        assert found[1][r] == pytest.approx(accuracy, rel=1e-12)


def test_the_probe_is_called_before_the_update_of_its_step_and_once_at_the_end(digits, backend):
    calls, ticks = [], []
    Run(
        digits,
        backend,
        [0, 1],
        steps=7,
        probe_at={3, 0, 7, 99},
        probe=lambda step: calls.append((step, sum(ticks))),
        tick=ticks.append,
    )
    assert calls == [(0, 0), (3, 3), (7, 7)]  # so many updates were finished
    assert ticks == [1] * 7
    Run(digits, backend, [0], steps=7, probe_at=[5], probe=lambda step: calls.append(step))
    assert calls[3:] == [5]  # not at the end, unless asked to
    Run(digits, backend, [0], steps=2, probe_at=[0, 2])  # and nobody needs to call


def test_the_probe_sees_the_network_of_its_step_and_changes_nothing(digits, backend, same_bits):
    quiet, seen = Run(digits, backend, [0], steps=4), {}
    cell = []

    class Spy(Run):
        def __init__(self, *args, **kwargs):
            cell.append(self)
            super().__init__(*args, **kwargs)

    def probe(step):
        params = cell[0].model.layers[0].params
        seen[step] = backend.to_host(params["weight"]).copy()

    spied = Spy(digits, backend, [0], steps=4, probe_at=[0, 2, 4], probe=probe)
    assert (seen[0] == draw_weight("glorot_normal", 64, WIDTH, [0], 0).astype(np.float32)).all()
    same_bits(seen[2], Run(digits, backend, [0], steps=2).model.layers[0].params["weight"])
    same_bits(seen[4], quiet.model.layers[0].params["weight"])
    same_bits(spied.losses, quiet.losses)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_divergence_is_recorded_and_stays_in_its_replica(digits, backend, placement):
    # Warnings are errors in this suite: nothing may be warned about either.
    options = {"placement": placement, "activation": "relu", "steps": 6}
    run = Run(digits, backend, [0, 1], rate=[1e30, 0.1], **options)
    assert not np.isfinite(run.losses[-1, 0])
    assert np.isfinite(run.losses[0]).all()
    alone = Run(digits, backend, [1], rate=0.1, **options)
    np.testing.assert_allclose(run.losses[:, [1]], alone.losses, rtol=1e-6)
    loss, accuracy = run.evaluate()
    assert not np.isfinite(loss[0])
    assert np.isfinite(loss[1])
    assert (accuracy >= 0).all()


@pytest.mark.parametrize(("sample", "most"), [(0, 1437), (31, 31), (1437, 1437), (2000, 1437)])
def test_a_batch_must_fit_the_data_and_the_sample(digits, sample, most):
    check_batch_fits(most, digits, sample)
    text = f"optim.batch is {most + 1}; expected at most {most}, the number of training examples of"
    with pytest.raises(ConfigError, match=f"^{text} digits$"):
        check_batch_fits(most + 1, digits, sample)


def chosen_at_random(replicas, count):
    """Test examples of each replica's own, some of them twice."""
    rng = np.random.default_rng(3)
    return rng.integers(0, 360, (replicas, count))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_evaluate_is_the_plain_computation_whatever_the_chunk(digits, backend, placement):
    run = Run(digits, backend, [0, 1], placement=placement, dtype="float64", steps=30)
    chosen = chosen_at_random(2, 300)
    h, labels = digits.x_test[chosen].astype(np.float64), digits.y_test[chosen]
    for layer in run.model.layers:
        state = {k: backend.to_host(v)[:, None] for k, v in layer.params.items()}
        if isinstance(layer, Affine):
            h = h @ backend.to_host(layer.params["weight"]) + state["bias"]
        elif isinstance(layer, BatchNorm):
            mean, var = (
                backend.to_host(v)[:, None] for v in (layer.running_mean, layer.running_var)
            )
            h = state["gamma"] * (h - mean) / np.sqrt(var + 1e-5) + state["beta"]
        else:
            h = np.tanh(h)
    p = np.exp(h) / np.exp(h).sum(axis=-1, keepdims=True)
    expected = -np.log(np.take_along_axis(p, labels[..., None], axis=2)).mean(axis=(1, 2))
    right = (h.argmax(axis=-1) == labels).mean(axis=1)
    assert (right > 0.5).all()
    before = [backend.to_host(a).tobytes() for a in run.state()]
    for chunk in (7, 150, 299, 300, 2000):
        loss, accuracy = run.evaluate(chosen, chunk=chunk)
        assert loss.shape == accuracy.shape == (2,)
        np.testing.assert_allclose(loss, expected, rtol=1e-11)
        np.testing.assert_allclose(accuracy, right, rtol=1e-12)
    assert [backend.to_host(a).tobytes() for a in run.state()] == before


def test_a_cancelled_run_stops_at_once(digits, backend):
    ticks = []

    def tick(n):
        ticks.append(n)
        if len(ticks) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        Run(digits, backend, [0], steps=50, tick=tick)
    assert len(ticks) == 3


# The sample of a seed -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numbered():
    """Examples that tell their number: the first feature is it over 256."""
    rng = np.random.default_rng(1)
    x = rng.random((120, 5)).astype(np.float32)
    x[:, 0] = np.arange(120) / 256
    return Dataset("numbered", x[:100], np.arange(100) % 3, x[100:], np.arange(20) % 3, 3)


def seen(dataset, backend, seeds, **options):
    """The numbers of the training examples of every step, (steps, R, batch)."""
    found = []

    def observe(caches):
        found.append(np.rint(backend.to_host(caches[0].x)[..., 0] * 256).astype(int))

    Run(dataset, backend, seeds, observe=observe, **{"batch": 8, "steps": 12} | options)
    return np.stack(found)


def test_a_seed_trains_on_its_own_sample_and_on_nothing_else(numbered, backend):
    found = seen(numbered, backend, [3, 8], sample=40)
    for r, seed in enumerate((3, 8)):
        own = set(example_order(seed, "train", 100)[:40])
        for start in (0, 5):  # epochs of five batches
            assert sorted(found[start : start + 5, r].ravel()) == sorted(own)
        assert set(found[10:, r].ravel()) < own
    assert (found[:5, 0] != found[5:10, 0]).any()  # shuffled anew
    one, other = (set(found[:, r].ravel()) for r in range(2))
    assert 8 <= len(one & other) <= 24  # 16 by chance


@pytest.mark.parametrize(
    ("seeds", "options"),
    [([8], {}), ([0, 8, 3], {}), ([8], {"batch": 5}), ([8], {"batch": 40}), ([8], {"steps": 5})],
    ids=str,
)
def test_the_sample_is_the_same_whatever_else_is_asked_for(numbered, backend, seeds, options):
    found = seen(numbered, backend, seeds, sample=40, **options)[:, seeds.index(8)]
    assert set(found.ravel()) == set(example_order(8, "train", 100)[:40])


def test_a_larger_sample_holds_the_smaller(numbered, backend):
    small, large = (
        set(seen(numbered, backend, [8], sample=n, batch=n, steps=1).ravel()) for n in (10, 60)
    )
    assert small < large


@pytest.mark.parametrize("sample", [0, 100, 101, 10**9])
def test_a_sample_of_all_is_no_sample(numbered, backend, sample):
    found = seen(numbered, backend, [3, 8], sample=sample)
    for r, seed in enumerate((3, 8)):
        assert (found[:, r] == batch_order(seed, 100, 8, 12)).all()


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_training_on_a_sample_is_training_on_a_dataset_of_it(digits, backend, same_bits, placement):
    stacked = Run(digits, backend, [4, 0], placement=placement, sample=64, steps=8)
    for r, seed in enumerate((4, 0)):
        own = example_order(seed, "train", 1437)[:64]
        x, y = digits.x_train[own], digits.y_train[own]
        alone = Run(
            Dataset("own", x, y, digits.x_test, digits.y_test, 10),
            *(backend, [seed]),
            placement=placement,
            steps=8,
        )
        same_bits(alone.losses, stacked.losses[:, [r]])
        for one, both in zip(alone.state(), stacked.state(), strict=True):
            same_bits(one, both[[r]])


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_each_replica_is_evaluated_on_its_own_choice_and_on_nothing_else(
    digits, backend, same_bits, placement
):
    run = Run(digits, backend, [4, 0, 9], placement=placement, steps=5)
    chosen = chosen_at_random(3, 50) // 2  # none of the second half
    x, y = run.data.x_test.copy(), run.data.y_test
    x[180:] = float("nan")
    found = loss_and_accuracy(run.model, x, y, chosen, backend)
    assert np.isfinite(found[0]).all()
    for r in range(3):
        alone = loss_and_accuracy(run.model.select(slice(r, r + 1)), x, y, chosen[[r]], backend)
        for one, of_all in zip(alone, found, strict=True):
            same_bits(one, of_all[[r]])
    same = run.evaluate(np.stack([chosen[0]] * 3))
    assert same[0][0] == found[0][0]
    assert (same[0][1:] != found[0][1:]).all()
