"""The best validation of a run, and its alarms."""

import math

from ..models.kind import Kind, get_symbol
from .properties import load_curves
from .record import Best, RunPaths


def find_best_validation(paths: RunPaths, kind: Kind) -> Best | None:
    """Return the best validation of a run, the first of equals; None before the first number.

    raises: MetricsError if val.csv is damaged
    """
    metric = kind.best
    columns = load_curves(paths.val_metrics) if paths.val_metrics.exists() else {}
    pairs = zip(columns.get("step", ()), columns.get(metric.name, ()), strict=False)
    numbers = [(step, x) for step, x in pairs if x is not None and not math.isnan(x)]
    if not numbers:
        return None
    best = metric.find_best([x for _, x in numbers])
    step = next(step for step, x in numbers if x == best)
    return Best(metric=metric.name, step=step, value=best)


def describe_best(best: Best | None) -> str:
    """Return the metric that chose a run's best weights, and its value."""
    if best is None:
        return "no best validation"
    return f"best validation {get_symbol(best.metric)} {best.value:.3f}"


def find_alarms(paths: RunPaths, kind: Kind) -> dict[str, int]:
    """Return the alarms of the last validation, and the step since which each has been on.

    raises: MetricsError if val.csv is damaged
    """
    columns = load_curves(paths.val_metrics) if paths.val_metrics.exists() else {"step": []}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    found = {}
    for name, find_alarm in kind.alarms.items():
        for row in reversed(rows):
            if find_alarm(row) is None:
                break
            found[name] = row["step"]
    return found
