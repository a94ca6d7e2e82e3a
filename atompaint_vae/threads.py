"""How torch's threads wait for each other."""

import os

SPIN_COUNT = "1000"
"""Turns of a loop, some microseconds."""


def set_thread_waiting():
    """Nothing; has threads that wait spin for a moment only, and then sleep.

    Spinning as long as GNU's OpenMP likes makes training ten times slower as soon as anything else
    runs; sleeping at once makes it up to twice as slow when nothing does.  Call this before torch
    is imported; a setting that is there already is kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
