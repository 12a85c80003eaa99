# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Batchnorm on MNIST
#
# A network with one hidden layer learns to read digits: 784 pixels, 128 tanh units, 10 classes.
# It is said that with bad first weights it learns nothing, that good ones cure it, and that
# with batchnorm the first weights hardly matter. Train it yourself, in seconds.
#
# A question comes first, then a picture, then the claim that decides it: from more seeds than
# there are here, and by a rule that was written down before.

# %%
import os

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

from gpubn.backend import resolve
from gpubn.config import Config, DataConfig, InitConfig, ModelConfig, NormConfig, OptimConfig
from gpubn.data import load
from gpubn.errors import DataError
from gpubn.experiments import Context, get
from gpubn.nn.model import build_mlp
from gpubn.report.classroom import decided, label_ends, look
from gpubn.report.figures.style import BLACK, BLUE, INK, RED

# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]

SHORT = os.environ.get("GPUBN_NOTEBOOKS") == "short"  # as the tests run it
SEEDS, STEPS, BACKEND = (2, 60, "numpy") if SHORT else (3, 1500, "auto")
backend = resolve(BACKEND)
look()

# %% [markdown]
# ## The images

# %%
try:
    data = load("digits" if SHORT else "mnist")
    why = "the short form takes no more" if SHORT else ""
except DataError as error:
    data, why = load("digits"), f"MNIST cannot be had here: {error}"
side = int(data.features**0.5)
said = f"{len(data.x_train):,} images to learn from, {side} × {side} pixels each, from 0 to 1."
if why:
    said = (
        f"**These are scikit-learn's digits, not MNIST** ({why}). What comes out may differ a "
        f"little; the claims below are about MNIST. {said}"
    )
Markdown(said)

# %%
first = [int(np.flatnonzero(data.y_train == digit)[0]) for digit in range(data.classes)]
_, axes = plt.subplots(1, data.classes, figsize=(13, 1.9))
for ax, example in zip(axes, first, strict=True):
    ax.imshow(data.x_train[example].reshape(side, side), cmap="gray_r")
    ax.set_title(data.y_train[example], loc="center")
    ax.set_axis_off()
plt.show()

# %% [markdown]
# ## Three ways to draw the first weights
#
# * **unscaled**: any number from 0 to 1, each as likely as another (U[0,1) in the claims),
# * **scaled**: the same, times 0.01 (U[0,1) × 0.01),
# * **Glorot**: normal around 0, with variance 2 / (inputs + outputs) of the layer.
#
# A hidden unit multiplies every pixel by a weight, adds it all up, and takes the tanh.
#
# **Question.** About how large is that sum with unscaled weights? What does tanh make of it?

# %%
STARTS = {
    "unscaled": InitConfig("rand", kind="uniform", low=0.0, high=1.0),
    "scaled": InitConfig("rand_small", kind="uniform", low=0.0, high=1.0, scale=0.01),
    "Glorot": InitConfig("glorot", kind="glorot_normal"),
}
COLOURS = {"unscaled": RED, "scaled": BLACK, "Glorot": BLUE}
PLACES = {"no batchnorm": "none", "before tanh": "before", "after tanh": "after"}
# As the document's listing has it: unbiased, without eps, moving average from 0 with weight 0.01.
LISTING = {"eps": 0.0, "correction": 1, "momentum": 0.01, "average": "std", "initial_spread": 0.0}
NORMS = {name: NormConfig(place, placement=place, **LISTING) for name, place in PLACES.items()}

# %%
brightness = float(data.x_train.sum(axis=1).mean())
zeros = brightness / np.log(10) - np.log10(2)  # 1 - tanh(x) is 2 exp(-2x)
Markdown(
    f"The pixels of an image add up to {brightness:.0f} on average. "
    f"A weight from 0 to 1 is ½ on average: the sum is about {brightness / 2:.0f}, "
    f"and its tanh differs from 1 by 10<sup>−{zeros:.0f}</sup>. "
    f"Scaled by 0.01 the sum is {brightness / 200:.1g}, its tanh {np.tanh(brightness / 200):.1g}."
)


# %%
def outputs(start, norm="no batchnorm"):
    """Return the hidden units of fresh networks for some images, (seeds, images, units)."""
    network = build_mlp(
        ModelConfig(), NORMS[norm], STARTS[start], features=data.features, classes=data.classes,
        seeds=range(SEEDS), backend=backend, dtype="float32",
    )  # fmt: skip
    images = backend.asarray(data.x_train[:500])
    _, caches = network.forward(images, training=True, track=False)
    return backend.to_host(network.activations(caches)[0])


def show_outputs(norm):
    """A histogram for each way to draw the weights."""
    fig, axes = plt.subplots(1, 3, figsize=(13, 5))
    for ax, start in zip(axes, STARTS, strict=True):
        values = outputs(start, norm).ravel()
        ax.hist(values, np.linspace(-1, 1, 41), weights=np.full(values.size, 1 / values.size),
                color=COLOURS[start])  # fmt: skip
        flat = np.mean(np.abs(values) > 0.99)
        ax.set_title(f"{start}\n{flat:.0%} beyond ±0.99", color=COLOURS[start])
        ax.set(xlim=(-1.05, 1.05), xlabel="output of a unit", xticks=(-1, 0, 1), yticks=())
    axes[0].set_ylabel("how many")
    fig.suptitle(f"Before training, {norm}")
    plt.show()


show_outputs("no batchnorm")

# %% [markdown]
# Where tanh is flat its slope is 0, and nothing that the loss says comes through to the weights.

# %%
decided("D4", "D5")

# %% [markdown]
# Now with batchnorm: each unit's values less their mean, over their standard deviation.
# **Question.** Which place helps unscaled weights more, before the tanh or after it?

# %%
widgets.interact(show_outputs, norm=widgets.ToggleButtons(options=list(NORMS), value="before tanh"))

# %% [markdown]
# ## Training
#
# **Question.** Before it has learnt anything the best that a network can do is to guess. What is
# the loss of a guess among ten classes? Which of the three starts there?
#
# In the pictures a thin line is one seed, a thick one the mean of all.


# %%
def train(start, norm, rate=0.1, steps=STEPS):
    """All that was measured: one number a row, with its seed, step, layer and metric."""
    config = Config(
        name="mnist_init", data=DataConfig(data.name), model=ModelConfig(), norm=NORMS[norm],
        init=STARTS[start], optim=OptimConfig(rate=rate, steps=steps), seeds=SEEDS,
    )  # fmt: skip
    return pd.DataFrame(get(config.name).run(config, Context(backend)))


def metric(rows, name):
    """A table of one metric: a row a step, a column a seed."""
    chosen = rows[(rows.metric == name) & rows.seed.notna()]
    return chosen.pivot(index="step", columns="seed", values="value")


runs = {(start, norm): train(start, norm) for norm in NORMS for start in STARTS}


# %%
def show_losses(*norms):
    """The loss of each way to draw the weights, all seeds, a panel for each place of batchnorm."""
    _, axes = plt.subplots(1, len(norms), sharey=True, squeeze=False, figsize=(13, 6.5))
    for ax, norm in zip(axes[0], norms, strict=True):
        for start in STARTS:
            loss = metric(runs[start, norm], "batch_loss")
            ax.plot(loss, color=COLOURS[start], linewidth=1.2, alpha=0.6)
            ax.plot(loss.mean(axis=1), color=COLOURS[start], label=start)
        ax.axhline(np.log(data.classes), color=INK, linestyle="--", linewidth=1.5)
        ax.text(STEPS, np.log(data.classes) + 0.04, "a guess", ha="right", color=INK)
        ax.set(ylim=(0, 3.2), xlim=(0, STEPS), xlabel="step", title=norm)
        ax.set_xticks([0, STEPS // 2, STEPS])
        label_ends(ax)
    axes[0, 0].set_ylabel("loss, nats")
    plt.show()


show_losses("no batchnorm")

# %%
decided("D6", "D1", "D2", "D3")

# %% [markdown]
# **Question.** With batchnorm, will the three lie on one curve? Who gains most, and who hardly?

# %%
show_losses("before tanh", "after tanh")

# %%
decided("B10", "D11", "D15", "D18")

# %% [markdown]
# ## How well do they read digits?

# %%
_, ax = plt.subplots(figsize=(13, 6))
marks = dict(zip(NORMS, ("o", "s", "D"), strict=True))
lines = [(start, norm) for start in STARTS for norm in NORMS]
for row, (start, norm) in enumerate(reversed(lines)):
    right = metric(runs[start, norm], "test_accuracy").to_numpy()[-1]
    ax.plot(right, np.full(len(right), row), marks[norm], color=COLOURS[start], markersize=13)
    ax.text(max(right) + 0.025, row, f"{right.mean():.0%}", va="center", color=COLOURS[start])
ax.set_yticks(range(len(lines)), [f"{start}, {norm}" for start, norm in reversed(lines)])
ax.set(xlim=(0, 1.08), xlabel="share of new images read right, a mark a seed")
ax.axvline(1 / data.classes, color=INK, linestyle="--", linewidth=1.5)
ax.text(1 / data.classes + 0.01, len(lines) - 0.4, "a guess", color=INK)
plt.show()

# %% [markdown]
# ## While it learns
#
# Move the slider: how do the outputs of the hidden units change from step to step?
#
# **Question.** Without batchnorm the outputs move while the network learns. Does batchnorm hold
# them still?


# %%
def show_moment(start, norm, step):
    """Histogram of the hidden outputs at a step, all seeds, over that before training."""
    rows = runs[start, norm]
    pooled = rows[rows.metric.str.startswith("post_activation_hist")]
    centre = pooled.metric.str.extract(r"\[(.*)\]", expand=False).astype(float)
    _, ax = plt.subplots(figsize=(13, 5.5))
    for at, colour, label in ((0, INK, "before training"), (step, COLOURS[start], f"step {step}")):
        chosen = pooled.step == at
        ax.step(centre[chosen], pooled.value[chosen], color=colour, where="mid", label=label,
                linewidth=2 if at == 0 else 4)  # fmt: skip
    ax.set(
        xlim=(-1.02, 1.02),
        ylim=(0, None),
        xlabel="output of a hidden unit",
        ylabel="share of outputs",
    )
    ax.set_title(f"{start}, {norm}")
    ax.legend(frameon=False)
    plt.show()


EVERY = 200  # steps between two histograms
show_moment("Glorot", "no batchnorm", STEPS // EVERY * EVERY)

# %%
widgets.interact(
    show_moment,
    start=widgets.ToggleButtons(options=list(STARTS), value="Glorot"),
    norm=widgets.ToggleButtons(options=list(NORMS)),
    step=widgets.IntSlider(0, 0, STEPS // EVERY * EVERY, EVERY, continuous_update=False),
)
# %%
decided("D7", "D22")

# %% [markdown]
# ## Your turn
#
# Train your own: what is the largest rate that still works, without batchnorm and with it?


# %%
def show_own(start, norm, rate):
    """Train networks of one's own, and show their losses over the ones above."""
    own = metric(train(start, norm, rate), "batch_loss")
    _, ax = plt.subplots()
    ax.plot(metric(runs[start, norm], "batch_loss").mean(axis=1), color=INK, label="rate 0.1")
    ax.plot(own.mean(axis=1), color=COLOURS[start], label=f"rate {rate:.2g}")
    ax.axhline(np.log(data.classes), color=INK, linestyle="--", linewidth=1.5)
    ax.set(xlim=(0, STEPS), ylim=(0, 3.2), xlabel="step", ylabel="loss, nats")
    ax.set_title(f"{start}, {norm}")
    label_ends(ax)
    plt.show()


show_own("Glorot", "before tanh", 1.0)

# %%
widgets.interact_manual(
    show_own,
    start=widgets.ToggleButtons(options=list(STARTS), value="Glorot"),
    norm=widgets.ToggleButtons(options=list(NORMS)),
    rate=widgets.FloatLogSlider(0.1, min=-3, max=2, step=0.25),
)
# %%
decided("B9", "D16")

# %% [markdown]
# ## To talk about
#
# * At the loss of a guess, is the network stuck in a minimum, or only on a plateau?
# * Is it the noise of the batch that makes a network read new images better?
# * What does a network need at test time that it does not need in training?
# * This one has a single hidden layer. What changes with twenty?

# %%
decided("D20", "B12", "B5", "D12")
