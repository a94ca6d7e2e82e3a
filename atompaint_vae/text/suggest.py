"""What an error says of a name that is unknown: the nearest that there are."""

from collections.abc import Collection
from difflib import SequenceMatcher, get_close_matches

NUM_NEAR = 3
NUM_KNOWN = 6
LEAD = 0.1
"""By how much of difflib's ratio, from 0 to 1, the best must lead to be the only one."""


def suggest(name: str, known: Collection[str], near: Collection[str] = ()) -> str:
    """
    The names most like this one, such as `did you mean 'a' or 'b'?`, or some of those that exist.

    near: what is meant more likely than what merely looks alike
    """
    if not near and (near := get_close_matches(name, known, n=NUM_NEAR)):
        best = SequenceMatcher(None, near[0], name).ratio()
        near = get_close_matches(name, near, n=NUM_NEAR, cutoff=best - LEAD)
    if near:
        return f"did you mean {' or '.join(map(repr, [*near][:NUM_NEAR]))}?"
    more = len(known) - NUM_KNOWN
    names = [*known][:NUM_KNOWN] if more > 0 else known
    return f"known: {', '.join(names) or 'none'}" + (f" and {more} more" if more > 0 else "")
