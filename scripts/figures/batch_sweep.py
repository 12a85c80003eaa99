"""Does the noise of the batch's statistics regularise? Best test loss by size of ghost batch."""

import numpy as np

from gpubn.report.figures import scales, sheets, style, sweeps

TABLES = ("batch_sweep",)
CLAIMS = ("B12",)

# The claims' ledger decides these: what matters, and which arms are compared, by size of batch.
MATTERS = 0.02
DECIDING = {"512": ("ghost_16",), "128": ("ghost_16", "none")}


def draw(sheet: sheets.Sheet) -> None:
    table, c = sheet.table, sheet.config
    batches = sheet.levels("batch")[::-1]
    sizes = sorted(int(norm[6:]) for norm in table["norm"].unique() if norm.startswith("ghost_"))
    names = {f"ghost_{size}": str(size) for size in sizes}
    names |= {"before": "whole\nbatch", "none": "none"}
    text = f"""Best test loss by how many examples are normalised together

        Dataset: {sheet.dataset}; {c["data.train_examples"]:,} training images drawn for each of n =
        {sheet.seeds} seeds, {sheet.hidden_layers} {sheet.activation} units, {sheet.weights}
        weights. Top: lowest test loss within {c["optim.steps"]} steps at the best of the constant
        rates {", ".join(sheet.levels("rate"))}; batchnorm uses the statistics of the training
        images. Bottom: logarithm of the ratio of two such losses of the same seed; above 0 noise,
        or batchnorm as a whole, regularises. Shaded: what decides. {sweeps.MARKS}
        {sweeps.diverged_note(table)}
    """
    legend = sweeps.legend(
        {name: style.PLACEMENTS[name] for name in ("before", "none")}, matters=f"±{MATTERS:g}"
    )
    axes = sheet.grid((2, len(batches)), (7.2, 5.4), text, legend)
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
    for (upper, lower), batch in zip(axes.T, batches, strict=True):
        for i, norm in enumerate(names):
            look = style.PLACEMENTS["none" if norm == "none" else "before"]
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
        everything = ", all training images" * (batch == str(c["data.train_examples"]))
        upper.set(title=f"batches of {batch}{everything}", xlabel="examples normalised together")
    scales.label_grid(axes, y=["best test loss (nats)", "log ratio of losses"])
