"""Best test loss by how many examples are normalised together.

{dataset}, {c[data.train_examples]:,} training images a seed; {network}, {weights} weights. Top:
lowest test loss within {training} at the best of the {rate}. Bottom: log ratio of two such losses
of a seed; above 0 noise, or batchnorm, regularises; shaded: what decides. {dots}

The training images are drawn anew for each seed; batchnorm uses their statistics at inference. The
ratios are of the whole batch to groups, and of none to the whole batch. {diverged}
"""

import numpy as np

from gpubn.report.figures import looks, scales, sweeps
from gpubn.report.figures.sheets import Labels, Legend, Panels, Sheet, Slide, figure

# The claims' ledger decides these: what matters, and which arms are compared, by size of batch.
MATTERS = 0.02
DECIDING = dict.fromkeys(("512", "128"), ("ghost_16", "none"))


def _batches(sheet: Sheet) -> Labels:
    everything = {str(sheet.config["data.train_examples"]): ", all training images"}
    return {
        batch: f"batches of {batch}{everything.get(batch, '')}"
        for batch in sheet.levels("batch")[::-1]
    }


@figure(__doc__, tables=("batch_sweep",), claims=("B12", "B28"), from_small=True, size=(7.2, 5.0))
@Panels(
    rows={"loss": "best test loss (nats)", "ratio": "log ratio of losses"},
    columns=_batches,
    x={"loss": "examples normalised together", "ratio": "what is compared"},
    share="row",
)
@Legend(
    sweeps.entries(
        {name: looks.PLACEMENTS[name] for name in ("before", "none")}, matters=f"±{MATTERS:g}"
    )
)
@Slide(((0, 1), (1, 1)))
def draw(sheet: Sheet) -> None:
    table = sheet.table
    sizes = sorted(int(norm[6:]) for norm in table["norm"].unique() if norm.startswith("ghost_"))
    names = {f"ghost_{size}": str(size) for size in sizes}
    names |= {"before": "whole\nbatch", "none": "none"}
    best = sweeps.by_arm(
        table,
        "batch",
        lambda rows: sweeps.at_best_rate(rows, "batch", "best_test_loss")[1],
        arms=names,
    )
    ratios = sweeps.over(best, base="before")
    for of_batch in ratios.values():
        of_batch |= {"none": -of_batch["none"]} if "none" in of_batch else {}
    loss_limits = scales.finite_range(best)
    ratio_limits = scales.ratio_ends(ratios, MATTERS)
    for (upper, lower), batch in zip(sheet.axes.T, sheet.columns, strict=True):
        for i, norm in enumerate(names):
            look = looks.PLACEMENTS["none" if norm == "none" else "before"]
            at = np.array([float(i)])
            for ax, seeds, ends in ((upper, best, loss_limits), (lower, ratios, ratio_limits)):
                if norm in seeds[batch]:
                    sweeps.draw_seeds(ax, at, seeds[batch][norm], look, ends=ends, aside=0.16)
            if norm in DECIDING.get(batch, ()):
                sweeps.shade(lower, i)
        upper.set_ylim(*loss_limits)
        scales.ratio_axis(lower, ratio_limits, MATTERS)
        for ax in (upper, lower):
            scales.category_axis(ax, list(names.values()))
        lower.set_xticks(
            [i for i, norm in enumerate(names) if norm != "before"],
            [*(f"whole\nover {size}" for size in sizes), "none over\nwhole"],
        )
