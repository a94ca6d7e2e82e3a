"""Plans as a person reads them: a table of runs, a table of a run's layers, and what to mind."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from ..config.hparams import Hparams, find_differences
from .cost import StepCost
from .first_steps import MAX_CROPS, NUM_TIMED_STEPS, Trial
from .plan import Plan

DOMINANT = 10
"""Times that a loss is larger than the other where that is worth a word."""

COLUMNS = (
    "", "run", "parameters", "latent", "compression", "steps", "batch", "multiply-adds", "memory",
    "data loss", "beta × prior", "time",
)  # fmt: skip


class RunTable:
    """A table of runs whose lines are made one by one, since each takes seconds."""

    def __init__(self, names: Sequence[str]):
        self.widths = [len(str(len(names))), max(3, *map(len, names)), 10, 12, 11, 7, 5, 13, 8, 9]
        self.widths += [12, 8]
        self.num_runs = 0

    def make_header(self) -> str:
        return self._join(COLUMNS)

    def make_line(self, name: str, plan: Plan, cost: StepCost, trial: Trial) -> str:
        self.num_runs += 1
        batch = f"{plan.num_devices}×{plan.batch_size}".removeprefix("1×")
        mark = "!" if plan.compression_ratio <= 1 else "×"
        return self._join([
            str(self.num_runs), name, f"{plan.num_parameters:,}", format_shape(plan.latent_shape),
            f"{plan.compression_ratio:.1f}{mark}", f"{plan.num_steps:,}",
            batch, format_count(cost.multiply_adds), format_bytes(cost.saved_bytes),
            f"{trial.data_loss:.4g}", f"{trial.weighted_prior_loss:.4g}",
            format_time(trial.total_s),
        ])  # fmt: skip

    def _join(self, cells: Iterable[str]) -> str:
        texts = [
            f"{cell:{'<' if i in (1, 3) else '>'}{width}}"
            for i, (cell, width) in enumerate(zip(cells, self.widths, strict=True))
        ]
        return "  ".join(texts).rstrip()


def describe_table(device: str, num_devices: int) -> str:
    """What the columns of the table of runs are of."""
    step = "a step of the whole batch" if num_devices == 1 else "a step on one device"
    text = (
        f"Multiply-adds and memory: of {step}, forward and backward. Losses: of the first batch, "
        f"with fresh weights. Time: the faster of {NUM_TIMED_STEPS} steps of at most {MAX_CROPS} "
        f"crops and a validation of them on {device}, scaled up"
    )
    if num_devices > 1 and device == "cpu":
        text += f", as {num_devices} processes share its cores"
    elif num_devices > 1:
        text += f", divided by {num_devices}"
    return "\n" + textwrap.fill(f"{text}.", 100)


def make_layer_table(cost: StepCost) -> str:
    """The layers of one model, and what each costs in a step."""
    header = ["layer", "fields", "voxels", "parameters", "multiply-adds", "memory"]
    rows = [
        [
            layer.name,
            f"{layer.fields_in} -> {layer.fields_out}",
            f"{layer.shape_in[1]}³ -> {layer.shape_out[1]}³",
            f"{layer.num_parameters:,}",
            format_count(layer.multiply_adds),
            format_bytes(layer.saved_bytes),
        ]
        for layer in cost.layers
    ]
    rest = cost.saved_bytes - sum(layer.saved_bytes for layer in cost.layers)
    others = cost.multiply_adds - sum(layer.multiply_adds for layer in cost.layers)
    rows.append(["posterior, loss", "", "", "0", format_count(others), format_bytes(rest)])
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:{'<' if i < 3 else '>'}{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )


def describe_losses(name: str, trial: Trial) -> str | None:
    """Which loss of a run dominates at the first step; None if neither does."""
    terms = {"data loss": trial.data_loss, "beta × prior loss": trial.weighted_prior_loss}
    (small, low), (large, high) = sorted(terms.items(), key=lambda item: item[1])
    if high < DOMINANT * low:
        return None
    times = f"{high / low:,.0f} times" if low > 0 else "all that there is beside"
    text = f"{name}: at the first step, the {large} is {times} the {small}"
    return f"{text}: the latent may collapse" if small == "data loss" else text


def find_confounded(runs: Mapping[str, Hparams]) -> list[tuple[str, ...]]:
    """Groups of dotted keys that vary together: where one is the same, so are the others."""
    differences = find_differences(runs)
    groups: dict[tuple[int, ...], list[str]] = {}
    for key in next(iter(differences.values()), {}):
        values = [differences[run][key] for run in runs]
        groups.setdefault(tuple(values.index(value) for value in values), []).append(key)
    return [tuple(keys) for keys in groups.values() if len(keys) > 1]


def describe_confounded(keys: Sequence[str]) -> str:
    names = f"{', '.join(keys[:-1])} and {keys[-1]}"
    return f"{names} vary together in all runs: what each does can't be told apart"


def format_shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def format_count(number: float) -> str:
    """12.3 M, 1.23 G."""
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:g}"


def format_bytes(number: float) -> str:
    """12.3 MB, in powers of 1,000."""
    return f"{format_count(number)}B" if number >= 1e3 else f"{number:g} B"


def format_time(time_s: float) -> str:
    """42 s, 12 min, 3 h 20 min, 5 d 3 h."""
    minutes = round(time_s / 60)
    if minutes < 2:
        return f"{time_s:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
