"""Plans as text: a table of runs, a table of a run's layers, notes."""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from ..config.schema import Hparams, flatten
from ..models.kind import get_kind
from ..records.compare import find_confounded
from ..text.formats import (
    format_bytes,
    format_count,
    format_shape,
    format_size,
    format_time,
    name_size,
)
from ..text.tables import format_row, format_table
from .cost import StepCost
from .plan import MAX_CROPS, NUM_TIMED_STEPS, FirstSteps, Plan

NUM_NAMES = 3
"""Runs that a note names, if it is one of several."""

_NUMBER = re.compile(r"(?<!\S)\d[\d,]*(?!\S)")


class RunTable:
    """A table of runs, made line by line, since each line takes seconds."""

    def __init__(self, runs: Mapping[str, Hparams]):
        sizes, losses = {}, {}
        for hparams in runs.values():
            kind = get_kind(hparams.kind)
            sizes |= {name_size(name): None for name in kind.sizes}
            losses |= kind.first_losses(dict.fromkeys(kind.losses, 0.0), hparams)
        widths = {"": len(str(len(runs))), "run": max(3, *map(len, runs)), "parameters": 10}
        widths |= {name: 12 if name == "latent" else max(11, len(name)) for name in sizes}
        widths |= {"steps": 7, "batch": 5, "multiply-adds": 13, "memory": 8}
        widths |= {name: max(9, len(name)) for name in losses}
        self.widths = widths | {"time": 8}
        self.num_runs = 0

    def make_header(self) -> str:
        return self._join({name: name for name in self.widths})

    def make_line(self, name: str, plan: Plan, cost: StepCost, steps: FirstSteps) -> str:
        self.num_runs += 1
        return self._join({
            "": str(self.num_runs),
            "run": name,
            "parameters": f"{plan.num_parameters:,}",
            **{name_size(key): format_size(key, size) for key, size in plan.sizes.items()},
            "steps": f"{plan.num_steps:,}",
            "batch": f"{plan.num_devices}×{plan.batch_size}".removeprefix("1×"),
            "multiply-adds": format_count(cost.multiply_adds),
            "memory": format_bytes(cost.saved_bytes),
            **{key: f"{loss:.4g}" for key, loss in steps.losses.items()},
            "time": format_time(steps.total_s),
        })

    def _join(self, cells: Mapping[str, str]) -> str:
        aligns = ["<" if name in ("run", "latent") else ">" for name in self.widths]
        texts = [cells.get(name, "") for name in self.widths]
        return format_row(texts, list(self.widths.values()), aligns)


def describe_table(device: str, num_devices: int, num_nodes: int = 1) -> str:
    """Return the legend of the table of runs.

    num_devices: of all nodes
    """
    step = "a step of the whole batch" if num_devices == 1 else "a step on one device"
    text = (
        f"Multiply-adds and memory: of {step}, forward and backward. Losses: of the first batch, "
        f"with initial weights. Time: the faster of {NUM_TIMED_STEPS} steps of at most {MAX_CROPS} "
        f"crops and a validation of them on {device}, scaled up"
    )
    num_at_once = num_devices if device == "cuda" else num_nodes
    if num_at_once > 1:
        text += f", divided by {num_at_once}"
    if num_devices > num_nodes and device == "cpu":
        text += f", as {num_devices // num_nodes} processes share its cores"
    return "\n" + textwrap.fill(f"{text}.", 100)


def make_layer_table(cost: StepCost) -> str:
    """Return a table of a model's layers and their costs in a step."""
    rows = [["layer", "fields", "voxels", "parameters", "multiply-adds", "memory"]]
    for layer in cost.layers:
        fields = [x for x in (layer.fields_in, layer.fields_out) if x]
        rows.append([
            layer.name,
            " -> ".join(fields),
            f"{_format_side(layer.shape_in)} -> {_format_side(layer.shape_out)}",
            f"{layer.num_parameters:,}",
            format_count(layer.multiply_adds),
            format_bytes(layer.saved_bytes),
        ])
    rest = cost.saved_bytes - sum(layer.saved_bytes for layer in cost.layers)
    others = cost.multiply_adds - sum(layer.multiply_adds for layer in cost.layers)
    rows.append(["the rest", "", "", "0", format_count(others), format_bytes(rest)])
    return "\n".join(format_table(rows, "<<<>>>"))


def _format_side(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}³" if len(shape) == 4 else format_shape(shape)


def list_notes(
    hparams: Hparams, steps: FirstSteps, model: nn.Module, inputs: Mapping[str, nn.Module]
) -> list[str]:
    """Return the kind's notes on what a run's model took over from others, and its first losses."""
    kind = get_kind(hparams.kind)
    taken_over = kind.load_objective().describe_inputs(hparams, model, inputs)
    return [x for x in (taken_over, kind.judge_first_losses(steps.losses)) if x]


def group_notes(notes: Iterable[tuple[str, str]]) -> list[str]:
    """
    Return a line for each note; notes that differ only in numbers become one, with their range.

    notes: names of runs, and what there is to say of them
    """
    groups: dict[str, dict[str, str]] = {}
    for name, text in notes:
        groups.setdefault(_NUMBER.sub("#", text), {})[name] = text
    lines = []
    for texts in groups.values():
        numbers = zip(*map(_NUMBER.findall, texts.values()), strict=True)
        ranges = map(_join_numbers, numbers)
        text = _NUMBER.sub(lambda _, ranges=ranges: next(ranges), next(iter(texts.values())))
        lines.append(f"{_join_names([*texts])}: {text}")
    return lines


def _join_names(names: Sequence[str]) -> str:
    if len(names) <= NUM_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: NUM_NAMES - 1])} and {len(names) - NUM_NAMES + 1} more runs"


def _join_numbers(numbers: Sequence[str]) -> str:
    in_order = sorted(set(numbers), key=lambda x: int(x.replace(",", "")))
    return " to ".join(dict.fromkeys([in_order[0], in_order[-1]]))


def describe_confounded(runs: Mapping[str, Hparams]) -> list[str]:
    """Return sentences about hyperparameters that vary only together."""
    return find_confounded([flatten(hparams) for hparams in runs.values()])
