"""The marks of every figure by what they mean: label, colour, line, marker.

What is compared in one figure differs in colour and in marker or line, so that it is told apart
without colours too.
"""

from gpubn.report import words
from gpubn.report.figures.style import (
    BLACK,
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    RED,
    SKY,
    Style,
)

Looks = dict[str, Style]

INITS: Looks = {
    name: (words.INITS[name], *style)
    for name, style in {
        "small": (BLUE, "-", "o"),
        "glorot": (RED, "-", "s"),
        "glorot_small": (PINK, "--", "^"),
        "scaled_normal": (GREEN, "-.", "D"),
        "narrow_uniform": (ORANGE, ":", "v"),
        "rand_fan_in": (ORANGE, "-", "v"),
        "rand": (BLACK, "-", "X"),
        "randn_fan_in": (SKY, "--", "P"),
        "randn": (PINK, "-", "^"),
        "rand_small": (GREEN, "-.", "D"),
        "he": (BLUE, "--", "D"),
    }.items()
}
FIRST_INIT = ("rand", "rand_fan_in", "randn", "randn_fan_in")
"""The readings of document D's first initialisation."""
MNIST_INITS = {name: INITS[name] for name in (*FIRST_INIT, "rand_small", "glorot")}
"""All of them."""

NORMS: Looks = {
    "none": ("no batchnorm", BLACK, "-", "o"),
    "before_naive": ("before tanh, no γ β", SKY, "--", "v"),
    "before": ("before tanh", BLUE, "-", "s"),
    "after_naive": ("after tanh, no γ β", ORANGE, "--", "^"),
    "after": ("after tanh", RED, "-", "D"),
}
TREATMENTS = {name: NORMS[name] for name in ("none", "before", "after")}
PLACEMENTS: Looks = {
    "none": NORMS["none"],
    "before": ("batchnorm before activation", *NORMS["before"][1:]),
    "after": ("batchnorm after activation", *NORMS["after"][1:]),
}
RELU_PLACES: Looks = {
    "before": ("batchnorm before ReLU", BLUE, "-", "o"),
    "after": ("batchnorm after ReLU", RED, "--", "s"),
}
DIVISORS: Looks = {
    "0": ("biased, 1/N", BLUE, "-", "o"),
    "1": ("unbiased, 1/(N-1)", ORANGE, "--", "s"),
}
ESTIMATORS: Looks = {
    "biased_ratio": ("divided by B, normal", RED, "", "o"),
    "biased_ratio_relu": ("divided by B, ReLU", ORANGE, "", "^"),
    "unbiased_ratio": ("divided by B - 1, normal", BLUE, "", "s"),
    "unbiased_ratio_relu": ("divided by B - 1, ReLU", SKY, "", "D"),
}
BETAS: Looks = {
    "0.0": ("beta starts at 0", BLUE, "-", "o"),
    "1.0": ("beta starts at 1", ORANGE, "--", "s"),
}
FAULTS: Looks = {
    "early": ("upstream gradient one layer early", BLUE, "-", "o"),
    "sign": ("sign of the variance term", RED, "--", "s"),
    "mean": ("mean term not summed", GREEN, "-.", "^"),
    "published": ("all three, as published", BLACK, "-", "X"),
}
STATISTICS: Looks = {
    "population": ("population", BLACK, "-", "P"),
    "never": ("never updated", PINK, "-", "X"),
    "moving[0.01]": ("moving average, unbiased variance, a = 0.01", ORANGE, "--", "s"),
    "biased[0.01]": ("moving average, biased variance, a = 0.01", BLUE, "-.", "d"),
}
LOSSES: Looks = {
    "batch_loss": ("mini-batch loss, training mode (decides)", BLACK, "-", "o"),
    "train_loss": ("training loss, inference mode", ORANGE, "--", "D"),
}
LISTING: Looks = {
    "listed": ("as listed", RED, "-", "s"),
    "between": ("in between", BLUE, "-", "D"),
    "mended": ("all mended", BLACK, "-", "o"),
}
NETWORKS: Looks = {
    "relu before": ("ReLU, batchnorm", BLUE, "", "o"),
    "linear before": ("linear, batchnorm", RED, "", "s"),
    "relu none": ("ReLU alone", SKY, "", "^"),
    "linear none": ("linear alone", ORANGE, "", "D"),
}
ZEROS: Looks = {
    "weight_grad_zero_share": ("weight gradients, exactly 0", GREEN, "-", "^"),
    "weight_grad_small_share": ("weight gradients, small", ORANGE, "--", "v"),
    "signal_small_share": ("backpropagated signal, small", PINK, "-.", "X"),
}
SCALES: Looks = {
    "gamma_error_unit": ("dgamma, one a unit", BLUE, "-", "o"),
    "gamma_error_layer": ("dgamma, one a layer", SKY, "--", "s"),
    "beta_error_unit": ("dbeta, one a unit", RED, "-.", "^"),
}
NORMALISED: Looks = {
    "before": ("before ReLU, without γ β", SKY, ":", "^"),
    "after": ("after ReLU, without γ β", ORANGE, "-.", "v"),
}
INPUTS: Looks = {
    "raw": ("raw", BLACK, "-", "o"),
    "centred": ("centred", GREEN, "--", "^"),
    "standardised": ("standardised", BLUE, "-.", "s"),
    "whitened": ("whitened", RED, ":", "D"),
}
DTYPES: Looks = {"float64": ("float64", BLUE, "", "o"), "float32": ("float32", ORANGE, "", "s")}
PINNED: Looks = {
    "0.9": ("mean above 0.9", ORANGE, "-", "s"),
    "0.99": ("mean above 0.99", BLUE, "-", "o"),
}
NOISE: Looks = {
    "mean_noise_ratio": ("of the mean", ORANGE, "-", "^"),
    "relative_mean_noise_ratio": ("of the mean, over the spread", SKY, "--", "v"),
    "relative_var_noise_ratio": ("of the variance, over its mean", PINK, "-.", "D"),
}
SIDES: Looks = {
    "pre": ("goes into the activation", BLUE, "", "o"),
    "post": ("comes out of it", ORANGE, "", "s"),
}
ARMS: Looks = {
    "none": ("none", BLACK, "-", "o"),
    "before": ("batchnorm", BLUE, "-", "s"),
    "noisy": ("batchnorm, noise behind it", RED, "--", "D"),
    "ghost_4": ("batchnorm of groups of 4", SKY, "-.", "<"),
    "mean_only": ("the mean alone", GREEN, "-", "^"),
    "variance_only": ("the variance alone", FAINT, ":", "v"),
    "layer": ("layer norm", PINK, "-.", "P"),
    "skip_init": ("residual, no normalisation", ORANGE, ":", "X"),
}
COSTS: Looks = {"first": ("", BLUE, "-", "o"), "second": ("", ORANGE, "-", "s")}
WAYS: Looks = {
    "activation_var": ("activations", BLUE, "-", "o"),
    "signal_var": ("gradients", ORANGE, "--", "s"),
}
ONE: Style = ("", BLACK, "", "D")
"""The look of what stands alone."""
PLAIN: Style = ("", INK, "-", "o")
SERIES = (
    (BLUE, "-", "o"), (GREEN, "--", "s"), (ORANGE, "-.", "^"), (RED, ":", "D"), (BLACK, "-", "v"),
)  # fmt: skip
"""Colour, line, marker of what has an order but no meaning of its own, such as batch sizes."""
