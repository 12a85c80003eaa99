"""The experiments over trainings: a declaration each, the name in capitals.

`dropout_shift` trains nothing, but stands beside `dropout`, whose variances it explains.
"""

from gpubn.experiments import dropout_shift
from gpubn.experiments.base import Experiment
from gpubn.experiments.probes.activations import (
    Histograms,
    Normality,
    Percentiles,
    Saturation,
    UnitInputs,
    UnitMeans,
)
from gpubn.experiments.probes.basin import Basin
from gpubn.experiments.probes.companions import companion_probes
from gpubn.experiments.probes.drift import ChangeSinceStart, Drift
from gpubn.experiments.probes.first_steps import FirstSteps
from gpubn.experiments.probes.generalisation import Generalisation
from gpubn.experiments.probes.gradients import GradientShift, UpdateRatios
from gpubn.experiments.probes.inference import inference_probes
from gpubn.experiments.probes.joint_step import JointStep
from gpubn.experiments.probes.normalisation import (
    IdentityDistance,
    NormInputVariance,
    NormParameters,
    ScaleShiftNumbers,
    StatisticsNoise,
    ZeroVariance,
)
from gpubn.experiments.probes.step import Smoothness, StepShift
from gpubn.experiments.training.trainer import training_experiment

DEPTH_GRID = training_experiment(
    "depth_grid",
    {
        "init": "init.name",
        "norm": "norm.name",
        "activation": "model.activation",
        "depth": "model.depth",
        "rate": "optim.rate",
    },
    group=10,
)
"""The training grid: depth, normalisation, activation and initialisation on MNIST."""

MNIST_INIT = training_experiment(
    "mnist_init",
    {"init": "init.name", "norm": "norm.name"},
    probes=lambda config: (Saturation(6), UpdateRatios(6), Drift(6), Histograms(200), UnitMeans()),
    evaluated=10_000,
)
"""Document D: one hidden tanh layer on MNIST under several initialisations, and batchnorm."""

MNIST_RUN = training_experiment(
    "mnist_run",
    {"init": "init.name", "norm": "norm.name"},
    probes=lambda config: (UnitInputs(), Histograms(200, bins=120)),
)
"""One run of document D's network, as its pictures show one."""

GAMMA_BETA = training_experiment("gamma_beta", {"norm": "norm.name"})
"""Batchnorm with and without gamma and beta, in document D's network."""

_DIAGNOSTIC_AXES = {
    "init": "init.name",
    "norm": "norm.name",
    "activation": "model.activation",
    "depth": "model.depth",
}

DIAGNOSTICS = training_experiment(
    "diagnostics",
    _DIAGNOSTIC_AXES,
    probes=lambda config: (
        Saturation(8),
        Percentiles(8),
        UpdateRatios(8),
        Drift(8),
        GradientShift(8),
        NormParameters(8),
    ),
)
"""Activations, gradients and batchnorm of a five-layer network while it trains."""

DIAGNOSTICS_DEEP = training_experiment(
    "diagnostics_deep",
    _DIAGNOSTIC_AXES,
    probes=lambda config: (Drift(4), GradientShift(2)),
)
"""Covariate shift by layer, in a network as deep as document A's while it trains."""

INFERENCE = training_experiment(
    "inference", {"norm": "norm.name"}, probes=inference_probes, whole_set=True
)
"""Kinds of statistics that a batchnorm may use at inference, and when each is ready."""

RATE_SWEEP = training_experiment(
    "rate_sweep",
    {"norm": "norm.name", "activation": "model.activation", "rate": "optim.rate"},
    group=10,
)
"""Learning rates over four decades, with and without batchnorm; divergence is counted."""

SCALE_SWEEP = training_experiment(
    "scale_sweep",
    {"norm": "norm.name", "activation": "model.activation", "scale": "init.scale"},
    group=10,
)
"""Scale of the hidden layers' initial weights over six decades, with and without batchnorm."""

BATCH_SWEEP = training_experiment(
    "batch_sweep",
    {"norm": "norm.name", "batch": "optim.batch", "rate": "optim.rate"},
    probes=lambda config: (Generalisation(16, population=True),),
)
"""Batches and ghost batches on a small training set: what the noise of the statistics does."""

DROPOUT = training_experiment(
    "dropout",
    {
        "norm": "norm.name",
        "dropout": "model.dropout",
        "dropout_at": "model.dropout_at",
        "rate": "optim.rate",
    },
    probes=lambda config: (Generalisation(10), NormInputVariance()),
    group=10,
)
"""Dropout with and without batchnorm, and in which order."""

DROPOUT_SHIFT = Experiment(
    name="dropout_shift",
    datasets=("gaussian",),
    axes={"dropout": "model.dropout"},
    keys=("data.name", "data.examples", "model.dropout", "dtype", "seeds", "first_seed"),
    run=dropout_shift.run_cell,
    work=lambda config: config.seeds,
    exact=True,
)
"""Variance that batchnorm sees behind dropout, in training and at inference."""

RECIPE = training_experiment(
    "recipe",
    {
        "init": "init.name",
        "norm": "norm.name",
        "eps": "norm.eps",
        "average": "norm.average",
        "correction": "norm.correction",
    },
    probes=lambda config: (ZeroVariance(),),
)
"""Document D's batchnorm with its quirks and without, one at a time."""

BESSEL = training_experiment(
    "bessel",
    {"correction": "norm.correction", "batch": "optim.batch"},
)
"""Biased and unbiased variance in training, by batch size."""

INITIAL_BETA = training_experiment(
    "initial_beta",
    {
        "activation": "model.activation",
        "beta": "norm.initial_beta",
        "norm": "norm.name",
        "depth": "model.depth",
    },
    group=10,
)
"""beta starting at 1, as document B has it, or at 0."""

STARTS = training_experiment(
    "starts",
    {"init": "init.name", "norm": "norm.name"},
    probes=lambda config: (
        Saturation(6),
        UpdateRatios(6),
        FirstSteps(),
        *(Basin() for _ in range(config.norm.placement == "none")),
    ),
)
"""Document D's network from bad starts and a good one: its first steps, and where it ends."""

BIAS_SWEEP = training_experiment(
    "bias_sweep",
    {"norm": "norm.name", "depth": "model.depth", "bias": "init.bias"},
    group=10,
)
"""Initial biases of the hidden layers over three decades, with and without batchnorm."""

NORM_ACCURACY = training_experiment(
    "norm_accuracy",
    {
        "norm": "norm.name",
        "activation": "model.activation",
        "batch": "optim.batch",
        "rate": "optim.rate",
    },
    probes=lambda config: (IdentityDistance(),),
    group=10,
)
"""Accuracy with and without batchnorm by batch size, and how near its gamma, beta come to undoing
it."""

SIGMOID_SCALE = training_experiment("sigmoid_scale", {"norm": "norm.name"})
"""Batchnorm with and without gamma and beta around a sigmoid."""

DROPOUT_SHARES = training_experiment(
    "dropout_shares",
    {"norm": "norm.name", "dropout": "model.dropout", "rate": "optim.rate"},
    probes=lambda config: (Generalisation(10), StatisticsNoise()),
    group=10,
)
"""Shares of dropout with and without batchnorm, and the noise of its statistics by the masks."""

NORMALITY = training_experiment(
    "normality",
    {"norm": "norm.name", "activation": "model.activation"},
    probes=lambda config: (Normality(), ScaleShiftNumbers()),
)
"""Distance from normal of the values around an activation, and what batchnorm learns there."""

COMPANIONS = training_experiment(
    "companions",
    {"norm": "norm.name", "momentum": "norm.momentum"},
    probes=companion_probes,
    whole_set=True,
)
"""An output's dependence on its companions, and inference on averages that were never updated."""

MECHANISM = training_experiment(
    "mechanism",
    {"network": "model.name", "norm": "norm.name", "rate": "optim.rate"},
    group=20,
    evaluated=1000,
)
"""Causes of batchnorm's benefit: the shift put back, halves of batchnorm, and none."""

CONVERGENCE = training_experiment(
    "convergence",
    {"network": "model.name", "norm": "norm.name", "rate": "optim.rate"},
    group=20,
    evaluated=1000,
)
"""Steps to a loss by learning rate, in networks of one to twenty layers."""

STEP_SHIFT = training_experiment(
    "step_shift",
    {"network": "model.name", "norm": "norm.name", "rate": "optim.rate"},
    probes=lambda config: (StepShift(4), Smoothness(4)),
    group=20,
    evaluated=1000,
)
"""What a step does to layers' inputs and gradients, and how smooth the loss is along it, by arm."""

TRAINABILITY = training_experiment(
    "trainability",
    {
        "network": "model.name",
        "norm": "norm.name",
        "depth": "model.depth",
        "rate": "optim.rate",
    },
    group=10,
    evaluated=200,
)
"""The trainability map: which depths learn at which rates in a fixed budget."""

JOINT_STEP = training_experiment(
    "joint_step",
    {"norm": "norm.name", "depth": "model.depth", "rate": "optim.rate"},
    probes=lambda config: (JointStep(10), ChangeSinceStart(4)),
    group=10,
)
"""Steps of all layers at once against each layer's own, and how far layers' inputs move."""

INPUTS = training_experiment(
    "inputs",
    {
        "inputs": "data.inputs",
        "norm": "norm.name",
        "network": "model.name",
        "rate": "optim.rate",
    },
    inputs=True,
    group=10,
)
"""Raw, centred, standardised and whitened inputs, with and without batchnorm."""
