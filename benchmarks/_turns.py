"""Time functions that take turns, so that what else the machine does slows all of them alike."""

import time
from collections.abc import Callable, Mapping


def time_in_turns(functions: Mapping[str, Callable], num_turns: int) -> dict[str, list[float]]:
    """Return the times of each function [ms]; the first turn warms up."""
    times_ms = {name: [] for name in functions}
    for turn in range(num_turns + 1):
        for name, function in functions.items():
            start_s = time.perf_counter()
            function()
            if turn > 0:
                times_ms[name].append(1000 * (time.perf_counter() - start_s))
    return times_ms
