"""Loss curves of an experiment's runs."""

from collections.abc import Sequence
from types import SimpleNamespace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..config.schema import flatten
from ..models.kind import Curve, get_kind
from ..records.experiment import RecordedRun
from ..records.metrics import load_metrics
from .style import RUN_COLOURS, make_figure, set_log_ticks


def plot_curves(runs: Sequence[RecordedRun]) -> Figure:
    """Plot the curves of the runs' kind against epochs: of a VAE, losses, R² and active units.

    Thin lines are single training batches; thick lines are the same held-out crops each time.
    Validations below a panel's axis are triangles at its lower end.
    """
    kinds = [get_kind(name) for name in dict.fromkeys(run.hparams.kind for run in runs)]
    panels = list({x.column: x for kind in kinds for x in kind.list_curves()}.values())
    num_columns = 2
    num_rows = -(-len(panels) // num_columns)
    figure, axes = make_figure(
        num_rows, num_columns, figsize=(8, 2.7 * num_rows), sharex=True, squeeze=False)
    for axis in axes.flat[len(panels):]:
        axis.set_visible(False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        axis.set_yscale("log" if panel.log else "linear")
        label = panel.ylabel.format(**_join_values(runs)) if panel.ylabel else None
        axis.set(title=panel.title, ylabel=label)
        if panel.limits:
            axis.set_ylim(panel.limits)
        for run, colour in zip(runs, _cycle_colours(len(runs)), strict=True):
            _plot_curve(axis, panel, run, colour)
        if panel.log:
            set_log_ticks(axis)
        if panel.limits and panel.limits[0] < 0 < panel.limits[1] and not panel.percent_of:
            axis.axhline(0, color="#888888", lw=0.8)
    for axis in axes.flat[max(0, len(panels) - num_columns) : len(panels)]:
        axis.set_xlabel("epoch")
        axis.tick_params(labelbottom=True)
    epochs = MaxNLocator(integer=True, steps=(1, 2, 5, 10))
    axes.flat[0].xaxis.set_major_locator(epochs)  # of all, which share it

    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(2, len(runs)),
        frameon=False,
        title="run" + " (compression ratio)" * any(_has_ratio(run) for run in runs),
    )
    return figure


def _plot_curve(axis: Axes, panel: Curve, run: RecordedRun, colour: str):
    sizes = run.record.sizes
    scale = 100 / sizes[panel.percent_of][0] if panel.percent_of in sizes else 1
    # A run of few steps ends before the first row of train.csv.
    train, val = (
        load_metrics(path) if path.exists() else {}
        for path in (run.paths.train_metrics, run.paths.val_metrics)
    )
    if panel.column in train:
        axis.plot(train["epoch"], scale * train[panel.column], color=colour, alpha=0.35, lw=0.6)
    if panel.column in val:
        label = run.name
        if _has_ratio(run):
            label += f" ({run.record.sizes['compression_ratio']:.1f}×)"
        values = scale * val[panel.column]
        marker = "o" if len(val) == 1 else None
        axis.plot(val["epoch"], values, color=colour, lw=1.6, marker=marker, label=label)
        if panel.limits and (is_below := values < panel.limits[0]).any():
            below = val["epoch"][is_below]
            low = [panel.limits[0]] * len(below)
            axis.plot(below, low, "v", color=colour, ms=4, clip_on=False)
            limit = f"{panel.limits[0]:g}".replace("-", "−")
            axis.set_title(f"{panel.title} (▼ below {limit})")


def _has_ratio(run: RecordedRun) -> bool:
    return "compression_ratio" in run.record.sizes


def _join_values(runs: Sequence[RecordedRun]) -> dict[str, SimpleNamespace]:
    """Return the sections of the runs' hyperparameters; each value is that of all runs, joined."""
    sections: dict[str, SimpleNamespace] = {}
    for key in dict.fromkeys(key for run in runs for key in flatten(run.hparams)):
        section, _, name = key.rpartition(".")
        flat = [flatten(run.hparams) for run in runs]
        values = sorted({str(values[key]) for values in flat if key in values})
        setattr(sections.setdefault(section, SimpleNamespace()), name, "/".join(values))
    return sections


def _cycle_colours(num_runs: int) -> list[str]:
    return [RUN_COLOURS[i % len(RUN_COLOURS)] for i in range(num_runs)]
