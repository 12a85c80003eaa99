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
# # The 20-layer network
#
# Twenty layers of 100 ReLU units, drawn at random; nothing has been trained. A thousand random
# examples go in at the bottom, a random gradient comes back from the top. What is left of them
# at the other end, and what does batchnorm change?
#
# A question comes first, then a picture, then the claim that decides it: from more seeds than
# there are here, and by a rule that was written down before.

# %%
import os
from math import pi

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown

from gpubn import theory
from gpubn.config import InitConfig
from gpubn.experiments import signal
from gpubn.report.classroom import decided, label_ends, look
from gpubn.report.figures.style import BLACK, BLUE, GREEN, ORANGE, RED

# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]

SHORT = os.environ.get("GPUBN_NOTEBOOKS") == "short"  # as the tests run it
DEPTH, WIDTH = 20, 100
SIZE = {"width": WIDTH, "batch": 100 if SHORT else 1000, "seeds": 2 if SHORT else 5}
look()


# %%
def show_layers(title, lines, ylabel="variance"):
    """Lines over the layers on a scale of powers of ten; thin: one network, thick: their mean.

    `lines` are (label, colour, values by network and layer).
    """
    _, ax = plt.subplots(figsize=(13, 7))
    for label, colour, values in lines:
        layers = np.arange(DEPTH + 1)[-values.shape[1] :]
        ax.plot(layers, values.T, color=colour, linewidth=1.2, alpha=0.6)
        ax.plot(layers, np.exp(np.log(values).mean(axis=0)), color=colour, label=label)
    ax.set(yscale="log", xlabel="layer", ylabel=ylabel, xlim=(0, DEPTH), title=title)
    ax.set_xticks(range(0, DEPTH + 1, 5))
    label_ends(ax)
    plt.show()


def power(value):
    """A number as the nearest power of ten, in Markdown."""
    return f"10<sup>{round(np.log10(value))}</sup>".replace("-", "−")


# %% [markdown]
# ## On the way up
#
# A unit multiplies each of its 100 inputs by a weight, adds them up, and cuts off what is
# negative. The weights are normal with standard deviation 0.01.
#
# **Question.** The inputs have variance 1. What is the variance after 20 layers? Write down a
# power of ten.

# %%
plain = signal(DEPTH, "small", **SIZE)
show_layers(
    "Weights 0.01, no batchnorm",
    [("activations", BLUE, plain.activation_var)],
    "variance of activations",
)

# %%
top = np.exp(np.log(plain.activation_var[:, -1]).mean())
a_layer = np.exp(np.log(plain.activation_var[:, -1] / plain.activation_var[:, 1]).mean())
a_layer **= 1 / (DEPTH - 1)
gain = theory.relu_gain(WIDTH, 0.01**2)
Markdown(
    f"It is {power(top)}. Each layer multiplies it by {a_layer:.4f}. Theory says "
    f"{gain:.4f}: the number of inputs times the variance of a weight, times ½ for what is cut off."
)

# %%
decided("A1", "A5")

# %% [markdown]
# ## Better weights
#
# **Question.** If a layer multiplies the variance by inputs × variance of a weight × ½, which
# standard deviation of the weights keeps it the same? (There are 100 inputs.)

# %%
right = np.sqrt(2 / WIDTH)
Markdown(
    f"√(2/{WIDTH}) = {right:.3f}: so He et al. draw weights for ReLU. Glorot and Bengio leave out "
    f"the ½, as for units that cut nothing off, and draw with √(1/{WIDTH}) = {right / 2**0.5:.3f}."
)

# %%
starts = {"small": ("0.01", RED), "glorot": ("Glorot", BLACK), "he": ("He", BLUE)}
found = {name: plain if name == "small" else signal(DEPTH, name, **SIZE) for name in starts}
show_layers(
    "No batchnorm, three ways to draw weights",
    [(label, colour, found[name].activation_var) for name, (label, colour) in starts.items()],
    "variance of activations",
)


# %% [markdown]
# Move the slider: how narrow is the range of weights that twenty layers stand?


# %%
def show_weights(deviation):
    """Activations and gradients for weights of a standard deviation of one's own."""
    own = signal(DEPTH, InitConfig("own", kind="normal", std=deviation), **SIZE)
    show_layers(
        f"Weights {deviation:.2g}, no batchnorm",
        [("activations", BLUE, own.activation_var), ("gradients", ORANGE, own.signal_var)],
    )


widgets.interact(
    show_weights,
    deviation=widgets.FloatLogSlider(0.05, min=-2, max=0, step=0.05, continuous_update=False),
)
# %%
decided("D14")

# %% [markdown]
# ## On the way back
#
# Two gradients are easily mistaken for one another: how the loss changes with what a layer
# **puts out**, and how it changes with a layer's **weights**. Only the second one moves weights.
#
# **Question.** With weights of 0.01, are the gradients of the first layers' weights smaller than
# those of the last layers'?

# %%
show_layers(
    "Weights 0.01, no batchnorm",
    [("outputs", ORANGE, plain.signal_var), ("weights", GREEN, plain.weight_grad_var)],
    "variance of gradients",
)

# %% [markdown]
# A weight's gradient is the gradient that comes down times the activation that comes up. What
# one loses from layer to layer the other one gains: their product is the same everywhere, and
# tiny everywhere.

# %%
decided("A6", "A2", "A14")

# %% [markdown]
# ## With batchnorm
#
# Now every layer subtracts each unit's mean over the examples, and divides by its standard
# deviation, before the ReLU.
#
# **Question.** The weights are still 0.01. What is the variance of the activations in layer 20?
# And does it matter now how large the weights are?

# %%
normed, behind = (signal(DEPTH, "small", place, **SIZE) for place in ("before", "after"))
show_layers(
    "Weights 0.01",
    [
        ("batchnorm after ReLU", GREEN, behind.activation_var),
        ("batchnorm before ReLU", BLUE, normed.activation_var),
        ("no batchnorm", BLACK, plain.activation_var),
    ],
    "variance of activations",
)

# %%
larger = signal(DEPTH, InitConfig("own", kind="normal", std=1.0), "before", **SIZE)
by_layer, after, also = (s.activation_var.mean(axis=0) for s in (normed, behind, larger))
Markdown(
    f"Before the ReLU: {by_layer[1]:.3f} in layer 1, where theory says "
    f"{theory.BATCHNORM_RELU_VAR:.3f}, the variance of a standard normal that is cut off at 0. In "
    f"layer {DEPTH}, where values are no longer normal, it is {by_layer[-1]:.3f}; with weights a "
    f"hundred times as large {also[-1]:.3f}. Behind the ReLU it is {after[-1]:.3f}, which is what "
    "batchnorm does."
)

# %%
decided("A3", "A8")

# %% [markdown]
# **Question.** Batchnorm keeps the activations the same. Does it keep the gradients the same as
# well?

# %%
growth = theory.batchnorm_relu_gradient_growth(SIZE["batch"])
show_layers(
    "On the way back, from layer 20 to layer 0",
    [
        ("batchnorm", BLUE, normed.signal_var),
        ("He, no batchnorm", BLACK, found["he"].signal_var),
    ],
    "variance of gradients",
)

# %%
measured = normed.signal_var[:, 1] / normed.signal_var[:, -2]
rate = np.exp(np.log(measured).mean()) ** (1 / (DEPTH - 2))
Markdown(
    f"With batchnorm they grow by a factor of {rate:.2f} a layer on their way down; theory says "
    f"{growth:.2f}, or π/(π − 1) = {pi / (pi - 1):.2f} for large batches. Over {DEPTH} layers that "
    f"is {growth**DEPTH:,.0f}, over 100 layers {power(growth**100)}. With He's weights and without "
    "batchnorm they stay."
)

# %%
decided("A7", "B16", "A12")

# %% [markdown]
# ## Your turn
#
# Which network of 20 layers is the healthiest? Which one is worst? Can a small batch break
# batchnorm?


# %%
def show_own(init, norm, activation, batch):
    """Activations and gradients of a network of one's own."""
    own = signal(DEPTH, init, norm, activation, **{**SIZE, "batch": batch})
    show_layers(
        f"{init} weights, {activation}, {norm} normalisation, batch {batch}",
        [("activations", BLUE, own.activation_var), ("gradients", ORANGE, own.signal_var)],
    )


show_own("glorot", "layer", "tanh", SIZE["batch"])

# %%
widgets.interact(
    show_own,
    init=widgets.ToggleButtons(options=["small", "glorot", "he"], value="he"),
    norm=widgets.ToggleButtons(options=["none", "before", "after", "layer", "rms"]),
    activation=widgets.ToggleButtons(options=["relu", "tanh", "sigmoid", "linear"]),
    batch=widgets.SelectionSlider(
        options=[4, 10, 30, 100, 300, 1000], value=SIZE["batch"], continuous_update=False
    ),
)
# %% [markdown]
# ## To talk about
#
# * Twenty layers that carry their signal: do they learn because of that?
# * Do the inputs of a layer stay the same while the layers below it learn?
# * "Internal covariate shift": is it what batchnorm takes away, and is it why networks learn?

# %%
decided("D12", "A16", "A19")
