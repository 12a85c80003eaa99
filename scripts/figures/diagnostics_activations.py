"""Activations of a five-layer network while it trains: percentiles, saturated and dead shares."""

from gpubn.report.figures import courses, marks, sheets, style
from gpubn.report.figures.selection import select

TABLES = ("diagnostics",)

PERCENTILES = {
    "activation_percentile[85]": ("85th percentile", style.RED, ":", "^"),
    "activation_percentile[50]": ("median", style.INK, "-", "o"),
    "activation_percentile[15]": ("15th percentile", style.BLUE, "--", "v"),
}
SHARES = {"saturated_share": "saturated\nshare", "dead_share": "dead\nshare"}


def draw(sheet: sheets.Sheet) -> None:
    shown = select(sheet.table, metric=[*PERCENTILES, *SHARES])
    styles, columns = courses.layer_styles(shown), courses.activation_columns(shown)
    text = f"""Percentiles of the activations, saturated and dead shares, by layer

        Dataset: {sheet.dataset}. {sheet.hidden_layers} units, {sheet.weights} weights,
        {sheet.training}; before, after: batchnorm before or after the activation. Measured on 1,000
        training images with their statistics. Upper rows: percentiles of what leaves the
        activation, over images and units. Lower rows, one line a layer: share of (image, unit)
        pairs without a slope, which is |tanh| > 0.99, logistic within 0.005 of 0 or 1, ReLU exactly
        0; share of units that have no slope on any image. Lines: mean of n = {sheet.seeds} seeds;
        bands: 95% t-interval. y axes are shared by each row; lines may overlap.
        {marks.edge_note(shown)}
    """
    legend = style.keys([*PERCENTILES.values(), *styles.values()])
    axes = sheet.grid(
        (len(styles) + len(SHARES), len(columns)), (7.8, 8.6), text, legend, legend_columns=8
    )
    rows = []
    for layer in styles:
        curves = [({"metric": m, "layer": layer}, look) for m, look in PERCENTILES.items()]
        rows.append(courses.CourseRow(f"layer {layer}\nactivation", curves, lowest=-1.1))
    for metric, label in SHARES.items():
        rows.append(courses.CourseRow(label, courses.layer_curves(styles, metric), lowest=-0.03))
    courses.draw_courses(axes, shown, rows, columns)
