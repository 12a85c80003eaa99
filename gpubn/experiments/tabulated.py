"""The rows that the tables of an experiment hold: those that claims and figures read.

The store keeps every row of a cell, so that another choice takes no run. Each cell leaves some rows
in a table. An experiment that is not here has all its rows in its tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpubn.rows import Observation

LAST = -1


@dataclass(frozen=True)
class Part:
    """Rows of some metrics, histogram bins and the like by what stands before the bracket.

    Attributes:
        where: axis of the table -> the values that count; all of an axis that is not here, or that
            a cell has not.
        steps: those that count, `LAST` the last of the cell; all where there are none.
        layers: those that count, `LAST` the last hidden one; all where there are none.
    """

    metrics: tuple[str, ...]
    where: Mapping[str, Sequence[str]]
    steps: tuple[int, ...]
    layers: tuple[int, ...]

    def is_of(self, axes: Mapping[str, str]) -> bool:
        """Return True if it holds rows of the cell with these axes."""
        return all(axis not in axes or axes[axis] in values for axis, values in self.where.items())

    def takes(self, row: Observation, last: int | None, depth: int | None) -> bool:
        """Return True if it holds this row of a cell that counts, with its last step and depth."""
        step = LAST if row.step == last else row.step
        layer = LAST if row.layer == depth else row.layer
        return (
            (row.metric in self.metrics or row.metric.partition("[")[0] in self.metrics)
            and (not self.steps or row.step in self.steps or step in self.steps)
            and (not self.layers or row.layer in self.layers or layer in self.layers)
        )


def _part(
    metrics: str,
    *,
    steps: tuple[int, ...] = (),
    layers: tuple[int, ...] = (),
    **where: str,
) -> Part:
    axes = {axis: values.split() for axis, values in where.items()}
    return Part(tuple(metrics.split()), axes, steps, layers)


def _of(quantity: str) -> str:
    """The metrics of one run's histogram."""
    return " ".join(f"{quantity}_{metric}" for metric in ("var", "low", "high", "hist"))


_AT_THE_END = (_part("batch_loss", steps=(LAST,)), _part("diverged"))

PARTS = {
    "depth_grid": (*_AT_THE_END, _part("train_loss")),
    "mnist_init": (
        _part("batch_loss saturated_share dead_share steps_to_loss"),
        _part("train_loss test_loss test_accuracy diverged"),
        _part("drift_mean preactivation_drift_mean pinned_share"),
        _part("gradient_norm", steps=(0,), layers=(1,)),
        _part("weight_change", steps=(LAST,), layers=(1,)),
        _part("unit_mean", norm="none"),
        _part("pre_activation_hist post_activation_hist", init="glorot"),
        _part("pre_activation_hist post_activation_hist", init="rand_small", norm="none"),
    ),
    "mnist_run": (
        _part("batch_loss", norm="none"),
        _part("batch_loss", init="glorot"),
        _part("diverged"),
        _part("unit_input", init="rand rand_small", norm="none"),
        _part("pre_activation_hist post_activation_hist", init="glorot", norm="none"),
    ),
    "diagnostics": (
        *_AT_THE_END,
        _part(
            "activation_percentile saturated_share dead_share gradient_to_weight weight_change "
            "drift_mean preactivation_drift_mean gradient_shift gradient_shift_cosine "
            "gamma_mean gamma_std beta_mean beta_std norm_output_mean norm_output_std",
            layers=(1, LAST),
        ),
    ),
    "diagnostics_deep": (
        *_AT_THE_END,
        _part("drift_mean", steps=(LAST,), init="he"),
        _part("gradient_shift", init="he"),
    ),
    "inference": (
        *_AT_THE_END,
        _part("statistics_error:population statistics_error:moving[0.01]"),
        _part("statistics_error:biased var_error:population var_error:biased"),
        *(
            _part(f"{quantity}:{kind}")
            for quantity in ("test_loss", "test_accuracy")
            for kind in ("batch", "moving", "biased", "population", "never")
        ),
    ),
    "rate_sweep": (*_AT_THE_END, _part("steps_to_loss[0.5]")),
    "scale_sweep": _AT_THE_END,
    "batch_sweep": (*_AT_THE_END, _part("best_test_loss")),
    "dropout": (*_AT_THE_END, _part("best_test_loss norm_input_variance_ratio")),
    "recipe": (*_AT_THE_END, _part("test_loss zero_variance_share zero_variance_step")),
    "bessel": (*_AT_THE_END, _part("train_loss test_loss")),
    "initial_beta": (_part("batch_loss diverged"),),
    "norm_accuracy": (
        _part("test_accuracy test_loss diverged"),
        _part("identity_distance", norm="before after", batch="32"),
    ),
    "sigmoid_scale": (_part("batch_loss test_loss test_accuracy diverged"),),
    "dropout_shares": (
        _part("best_test_loss diverged"),
        _part("mean_noise_ratio relative_mean_noise_ratio relative_var_noise_ratio", norm="before"),
    ),
    "normality": (
        *_AT_THE_END,
        _part("pre_normal_distance post_normal_distance"),
        _part("pre_excess_kurtosis post_excess_kurtosis"),
        _part("scale_shift_numbers scale_shift_numbers_a_unit", steps=(LAST,), norm="before"),
    ),
    "companions": (
        *_AT_THE_END,
        _part("output_scatter normalised_scatter class_changes"),
        _part("scatter_slope output_scatter_running test_accuracy test_loss"),
    ),
    "mechanism": (
        _part("batch_loss", steps=(LAST,)),
        _part("test_loss", norm="none before"),
    ),
    "convergence": (
        _part("steps_to_loss[0.5]"),
        _part("steps_to_loss[1] train_loss", norm="none before"),
    ),
    "step_shift": (
        _part("step_drift step_gradient_shift effective_beta"),
        _part(
            "loss_range gradient_change",
            network="relu_5 tanh_5 relu_20 tanh_20",
            norm="none before noisy skip_init",
        ),
    ),
    "trainability": (
        *_AT_THE_END,
        _part("batch_loss", steps=(0,), rate="0.1"),  # the same at every rate
        _part(  # curves to look at, of the quick grid
            "batch_loss",
            steps=(25, 50, 75, 100),
            rate="0.001 0.00316 0.01 0.0316 0.1 0.316 1.0 3.16",
        ),
    ),
    "shared_scale": (
        _part("forward_difference weight_grad_difference output_change"),
        _part("output_difference_after_step output_change_difference"),
        _part("scale_update_difference", rate="0.0001"),
    ),
    "signal_propagation": (
        _part("activation_var signal_var weight_grad_var", arithmetic="corrected"),
        _part("activation_var signal_var weight_grad_var", arithmetic="published", norm="after"),
        _part("activation_var", arithmetic="published", norm="none"),
        _part("weight_var", arithmetic="corrected", norm="none"),
        _part("zero_share small_share", layers=(4, 19, 20), init="small glorot", norm="none"),
        _part("unit_offset", norm="before after"),
        _part("example_offset mixing_share", init="small", norm="after", arithmetic="published"),
        _part(
            "weight_grad_var_published_scale",
            layers=(1, 2, 3, 4, 17, 18, 19),
            init="small glorot glorot_small",
            norm="none after",
        ),
        _part("activation_hist", layers=(0, 4, 19, 20), init="small glorot", norm="none after"),
        _part(
            "weight_grad_hist",
            layers=(1, 2, 17, 18, 19),
            init="small glorot",
            norm="none after",
        ),
    ),
    "signal_run": (
        _part(_of("activation"), layers=(0, 19, 20), norm="none"),
        _part(_of("activation"), layers=(4, 19, 20), norm="after"),
        _part(_of("weight_grad"), layers=(1, 2, 3, 4, 17, 18, 19), norm="none"),
        _part(_of("weight_grad"), layers=(18, 19), norm="after"),
    ),
    "signal_batch": (
        _part("signal_growth weight_grad_growth"),
        _part("activation_var", activation="relu", norm="none"),
        _part("signal_square", activation="relu", norm="before"),
    ),
    "signal_grid": (  # a layer's activations are the same in every network that is deep enough
        _part("activation_var", depth="50", layers=(0, 1, 2, 3, 5, 10, 15, 20, 30, 40, 50)),
        _part("weight_grad_var", depth="10", layers=(1, 2, 5, 8, 9, 10)),
        _part("weight_grad_var", depth="20", layers=(1, 2, 5, 10, 15, 19, 20)),
        _part("weight_grad_var", depth="50", layers=(1, 2, 5, 10, 20, 30, 40, 49, 50)),
        _part(
            "activation_hist activation_var",
            depth="20",
            init="small he",
            norm="none before after",
            activation="relu",
        ),
    ),
    "listing_backward": (
        _part("weight_grad_relative_error", init="small"),
        _part(
            "weight_grad_cosine weight_grad_size_ratio",
            init="small",
            arithmetic="early sign mean published",
        ),
        _part("weight_grad_relative_error", layers=(1,)),
    ),
    "starts": (
        *_AT_THE_END,
        _part("batch_loss", norm="none"),
        _part("batch_loss", init="glorot"),
        _part("steps_to_loss test_loss saturated_share"),
        _part("gradient_norm", layers=(1,)),
        _part("weight_norm logit_spread", norm="none"),
        _part("sample_loss descent_loss path_rise path_loss label_entropy", norm="none"),
    ),
    "bias_sweep": (*_AT_THE_END, _part("batch_loss", steps=(0,)), _part("test_loss")),
    "glorot_signal": (
        _part("activation_var signal_var", scale="1.0"),
        _part("activation_var signal_var saturated_share", activation="tanh", features="128"),
        _part("activation_var", layers=(10,)),
    ),
    "signal_shape": (
        _part("activation_distance", norm="none", arithmetic="corrected"),
        _part("activation_skewness activation_kurtosis", layers=(1,), norm="none"),
        _part("weight_grad_zero_share weight_grad_small_share", arithmetic="corrected"),
        _part("signal_zero_share signal_small_share", norm="none", arithmetic="corrected"),
        _part("weight_grad_distance", arithmetic="corrected"),
        _part("weight_grad_distance", layers=(1, 18, 19), arithmetic="published"),
        _part("weight_grad_kurtosis", layers=(1, 2), arithmetic="corrected"),
    ),
    "listing_scale": (
        _part("gamma_error_unit gamma_error_layer beta_error_unit beta_error_layer"),
        _part("gamma_numbers_unit gamma_gain_ratio_unit"),
        _part("beta_cosine_unit beta_size_ratio_unit"),
    ),
    "joint_step": (
        *_AT_THE_END,
        _part("worse_share joint_raises lost_share"),
        _part("input_mean_change input_std_change", steps=(LAST,), rate="0.1"),
        _part("normalised_mean_change normalised_std_change", steps=(LAST,), rate="0.1"),
    ),
    "inputs": (*_AT_THE_END, _part("steps_to_loss[0.5] test_loss")),
}
"""Experiment -> the parts of its rows that its tables hold."""


def tabulated(
    experiment: str, axes: Mapping[str, str], rows: Sequence[Observation]
) -> Sequence[Observation]:
    """Return the rows of a cell that the tables of its experiment hold, in order."""
    if experiment not in PARTS:
        return rows
    parts = [part for part in PARTS[experiment] if part.is_of(axes)]
    last = max((row.step for row in rows if row.step is not None), default=None)
    depth = int(axes["depth"]) if "depth" in axes else None
    return [row for row in rows if any(part.takes(row, last, depth) for part in parts)]
