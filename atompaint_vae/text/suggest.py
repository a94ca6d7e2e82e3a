"""Suggestions for unknown names: the nearest known ones."""

from collections.abc import Collection, Iterable
from difflib import SequenceMatcher, get_close_matches

NUM_NEAR = 3
NUM_KNOWN = 6
LEAD = 0.1
"""Lead of the best name, in difflib's ratio from 0 to 1, above which it is the only suggestion."""


def find_near(name: str, known: Iterable[str], num_near: int = NUM_NEAR) -> list[str]:
    """Return the known names that look like this one, the nearest first."""
    return get_close_matches(name, list(known), n=num_near)


def suggest(name: str, known: Collection[str], near: Collection[str] = ()) -> str:
    """
    Return the nearest names, such as `did you mean 'a' or 'b'?`, or else some of the known ones.

    near: names that are more likely than those that merely look alike
    """
    if not near and (near := find_near(name, known)):
        best = SequenceMatcher(None, near[0], name).ratio()
        near = get_close_matches(name, near, n=NUM_NEAR, cutoff=best - LEAD)
    if near:
        return f"did you mean {' or '.join(map(repr, [*near][:NUM_NEAR]))}?"
    more = len(known) - NUM_KNOWN
    names = [*known][:NUM_KNOWN] if more > 0 else known
    return f"known: {', '.join(names) or 'none'}" + (f" and {more} more" if more > 0 else "")


def suggest_key(key: str, known: Iterable[str], leaves: Iterable[str] = ()) -> str | None:
    """Return the known key nearest to `key`, or the dotted name of the one in another section."""
    near = find_near(key.lower(), known, 1)
    elsewhere = [name for name in leaves if name.rpartition(".")[2] == key]
    return (near or elsewhere or [None])[0]


def say_unknown(name: str, suggestion: str | None, known: Iterable[str]) -> str:
    """Return the message for an unknown key."""
    hint = f"did you mean '{suggestion}'?" if suggestion else f"known here: {', '.join(known)}"
    return f"key '{name}' is unknown; {hint}"
