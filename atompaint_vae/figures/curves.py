"""Loss curves of an experiment's runs."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..records.experiment import RecordedRun
from ..records.metrics import load_metrics
from .style import RUN_COLOURS, make_figure, set_log_ticks


def plot_curves(runs: Sequence[RecordedRun]) -> Figure:
    """Data loss, prior loss, R² and active units against epochs.

    Thin lines are single training batches; thick lines are the same held-out crops each time.
    """
    figure, axes = make_figure(2, 2, figsize=(8, 5.4), sharex=True)
    (data_axis, prior_axis), (r2_axis, units_axis) = axes

    reductions = "/".join(sorted({run.hparams.loss.reduction for run in runs}))
    data_axis.set(title="Data loss", yscale="log", ylabel=f"squared error, {reductions}")
    prior_axis.set(title="Prior loss", yscale="log", ylabel="KL divergence [nats]")
    r2_axis.set(title="R² of held-out crops", xlabel="epoch", ylim=(-0.25, 1.02))
    units_axis.set(
        title="Active units", xlabel="epoch", ylabel="% of latent channels", ylim=(-3, 103)
    )

    for run, colour in zip(runs, _cycle_colours(len(runs)), strict=True):
        train, val = load_metrics(run.paths.train_metrics), load_metrics(run.paths.val_metrics)
        style = {"color": colour, "lw": 1.6}
        for axis, key in ((data_axis, "data_loss"), (prior_axis, "prior_loss")):
            axis.plot(train["epoch"], train[key], color=colour, alpha=0.35, lw=0.6)
            axis.plot(val["epoch"], val[key], **style)
        label = f"{run.name} ({run.record.compression_ratio:.1f}×)"
        r2_axis.plot(val["epoch"], val["r2"], **style, label=label)
        num_units = run.record.latent_shape[0]
        units_axis.plot(val["epoch"], 100 * val["active_units"] / num_units, **style)
    epochs = MaxNLocator(integer=True, steps=(1, 2, 5, 10))
    units_axis.xaxis.set_major_locator(epochs)  # of all four, which share it
    set_log_ticks(data_axis)
    set_log_ticks(prior_axis)
    r2_axis.axhline(0, color="#888888", lw=0.8)

    figure.legend(
        loc="outside lower center",
        ncols=min(2, len(runs)),
        frameon=False,
        title="run (compression ratio)",
    )
    return figure


def _cycle_colours(num_runs: int) -> list[str]:
    return [RUN_COLOURS[i % len(RUN_COLOURS)] for i in range(num_runs)]
