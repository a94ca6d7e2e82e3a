"""How torch's threads wait for each other."""

import os

SPIN_COUNT = "1000"
"""Turns of a waiting loop; a few microseconds."""


def set_thread_waiting():
    """Limit how long waiting threads spin before they sleep.

    GNU's OpenMP spins so long by default that training becomes ten times slower as soon as another
    program runs. Sleeping at once makes it up to twice as slow on an idle machine. Call this before
    torch is imported. An existing setting is kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
