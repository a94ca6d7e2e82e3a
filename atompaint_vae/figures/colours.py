"""The colours of channels and residuals, the same in figures and in the pages' views."""

CHANNEL_COLOURS = {
    "C": ("#404040", "#b4b8bf"),
    "N": ("#1a4ce6", "#7ea0ff"),
    "O": ("#e61a1a", "#ff7a70"),
    "P": ("#ff8000", "#ffa64d"),
    "S": ("#ccb300", "#e6d34d"),
    "other": ("#991ab3", "#d98aec"),
}
"""Of what fills a voxel, about as chemists draw the elements; on light and on dark pages."""

MORE_COLOURS = (("#009e73", "#4dc9a5"), ("#cc79a7", "#e0a3c5"), ("#56b4e9", "#8accf2"))
"""In turn, for channels of other names."""

RESIDUAL_COLOURMAP = "PiYG"
"""Of matplotlib: no element has its colours."""

RESIDUAL_COLOURS = ("#c51b7d", "#4d9221")
"""What is missing and what is too much; of the same map."""

RESIDUAL_RANGE = 0.5
RESIDUAL_LABEL = "filled fraction, reconstruction − input"
