"""The colours of channels and residuals, the same in figures and in the pages' views."""

from collections.abc import Sequence

CHANNEL_COLOURS = {
    "C": ("#404040", "#b4b8bf"),
    "N": ("#1a4ce6", "#7ea0ff"),
    "O": ("#e61a1a", "#ff7a70"),
    "P": ("#ff8000", "#ffa64d"),
    "S": ("#ccb300", "#e6d34d"),
    "other": ("#991ab3", "#d98aec"),
}
"""The colour of each channel on light and on dark pages, close to what chemists use."""

GROUNDS = ("#ffffff", "#131416")
"""The background of light and of dark pages."""

MORE_COLOURS = (("#009e73", "#4dc9a5"), ("#cc79a7", "#e0a3c5"), ("#56b4e9", "#8accf2"))
"""For channels of other names, in turn."""

RESIDUAL_COLOURMAP = "PiYG"
"""A colormap of matplotlib that shares no colour with the elements."""

RESIDUAL_COLOURS = ("#c51b7d", "#4d9221")
"""Negative and positive residuals, from the same colormap."""

RESIDUAL_RANGE = 0.5
RESIDUAL_LABEL = "filled fraction, reconstruction − input"


def pick_colours(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the colour of each channel on a light page and on a dark one."""
    return [
        CHANNEL_COLOURS.get(name, MORE_COLOURS[i % len(MORE_COLOURS)])
        for i, name in enumerate(names)
    ]
