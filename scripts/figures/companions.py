"""At test time: outputs among companions, and averages that were never updated.

{dataset}; {network}, {weights} weights, {training}, {rate}. Left: scatter of the logits of
{EXAMPLES} images a seed over {DRAWS} draws of companions, over that between images (dashes: what
matters). Theory: of a normalised value. {dots}

Middle: images whose class is not the same in all draws. Right: accuracy in inference mode with
moving averages of weight {kept} on the new value, and never updated ({never}). With moving averages
an output is the same in every batch, to the last bit.
"""

import numpy as np

from gpubn import theory
from gpubn.experiments.probes import companions
from gpubn.report.figures import forest, looks, marks, scales, style
from gpubn.report.figures.selection import at_end, seeds, select
from gpubn.report.figures.sheets import Legend, Panels, Sheet, figure

EXAMPLES, DRAWS = companions.EXAMPLES, companions.DRAWS
MATTERS = 0.05
PLACES = {norm: looks.NORMS[norm] for norm in ("before", "after")}


@figure(__doc__, tables=("companions",), claims=("B24", "B26"), size=(7.6, 3.6))
@Panels(columns=3, x=("batch size", "batch size", "test accuracy"))
@Legend(style.keys(PLACES.values()), theory=True)
def draw(sheet: Sheet) -> None:
    scatter, changes, accuracy = sheet.axes[0]
    never, kept = sorted(sheet.levels("momentum"), key=float)
    sheet.said |= {"never": never, "kept": kept}
    last = at_end(sheet.table)
    metrics = last["metric"].unique()
    sizes = np.array(sorted(int(m[15:-1]) for m in metrics if m.startswith("output_scatter[")))
    shown = select(last, momentum=kept)
    for ax, metric in ((scatter, "output_scatter"), (changes, "class_changes")):
        for norm, look in PLACES.items():
            of_seeds = np.stack([seeds(shown, norm=norm, metric=f"{metric}[{n}]") for n in sizes])
            log = metric == "output_scatter"
            marks.band(ax, sizes, marks.interval(of_seeds, log), look, marks_every=1)
        scales.log_ticks(ax, [float(n) for n in sizes], along="x")
    fine = np.unique(np.geomspace(sizes[0], sizes[-1], 60).round().astype(int))
    predicted = [theory.batch_statistics_error(int(n)) for n in fine]
    scatter.plot(fine, predicted, **style.THEORY, zorder=1)
    scales.bounds(scatter, MATTERS)
    scales.log_ticks(scatter, (0.02, 0.05, 0.1, 0.2, 0.5, 1))
    scatter.set(title="scatter of the logits", ylabel="over the spread between images")
    changes.set(title="images whose class changes", ylabel="share", ylim=(0, None))
    lines = {
        f"{name}": [
            forest.Line("", seeds(last, metric="test_accuracy", momentum=weight, norm=norm), look)
            for norm, look in PLACES.items()
        ]
        for weight, name in ((kept, "updated"), (never, "never"))
    }
    forest.draw_forest(accuracy, forest.grouped(lines), title="moving averages")
