"""Images as one HTML page that needs no other file: slices, and a 3D view of each."""

import base64
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from ...figures.colours import pick_colours
from ...figures.slices import SLAB_A, choose_slab, colour_slab
from ...figures.stored_samples import CHANNEL_NAMES
from ..core.assets import STATIC
from .packing import pack_images

FOLDER = Path(__file__).parent
STYLES = (STATIC / "reconstruction.css", FOLDER / "gallery.css")
SCRIPTS = (
    *(
        STATIC / name
        for name in ("3Dmol-min.js", "isosurface.js", "slices.js", "controls.js", "viewer.js")
    ),
    FOLDER / "gallery.js",
)


LIMITS = (-1.0, 2.0)


def make_gallery(
    samples: Float[np.ndarray, "n c x y z"],
    crops: Float[np.ndarray, "m c x y z"] | None = None,
    scores: pd.DataFrame | None = None,
    *,
    title: str,
    names: tuple[str, str] = ("Sample", "Test crop"),
    resolution_A: float = 1.0,
    channel_names: Sequence[str] = CHANNEL_NAMES,
) -> str:
    """
    Return a page of images, to be written to a file of any name and opened from there.

    Each sample is shown as a slice and in 3D; a click makes it large, and a mouse then turns it. A
    page of 16 samples and 16 crops of 35³ voxels has 2 to 6 MB.

    samples: filled fractions; shown within LIMITS, beyond which badly trained models go
    crops:   test crops to compare them with, one beside each sample; if there are fewer of one
             kind, they are repeated
    names:   what one of the samples and one of the crops is called
    scores:  a table below the title, with a row for each set of images
    raises:  ValueError if there are no samples, or crops of another size; StoredImageError if an
             image is too large for a page
    """
    kinds = {names[0]: samples} | ({} if crops is None else {names[1]: crops})
    for kind, images in kinds.items():
        if not len(images):
            raise ValueError(f"{kind.lower()}s: none")
        if images.shape[1:] != samples.shape[1:]:
            raise ValueError(f"samples of {samples.shape[1:]}, but crops of {images.shape[1:]}")
    slab = choose_slab(samples.shape[-1], resolution_A)
    cards, packed, choices = [], [], []
    for k in range(max(map(len, kinds.values()))):
        shown = {f"{kind} {k % len(x) + 1}": x[k % len(x)] for kind, x in kinds.items()}
        shown = {label: x.clip(*LIMITS) for label, x in shown.items()}
        cards.append(make_card(k, shown, slab, channel_names))
        text, step = pack_images(list(shown.values()), channel_names, resolution_A)
        packed.append(text)
        label = ", ".join(shown).capitalize()
        choices.append({"key": k, "label": label, "precision": f"1/{round(1 / step)}"})
    view = {
        "title": title,
        "panels": list(kinds),
        "choice": "Shown",
        "colours": dict(zip(channel_names, pick_colours(channel_names), strict=True)),
        "crops": choices,
    }
    size = " × ".join(map(str, samples.shape[2:]))
    counts = " and ".join(
        f"{len(x)} {kind.lower()}{'s' * (len(x) > 1)}" for kind, x in kinds.items()
    )
    table = "" if scores is None else format_scores(scores)
    # A page's text ends a script at "</script", even within a string.
    data = f'{{"view":{json.dumps(view)},"crops":[{",".join(packed)}]}}'.replace("<", "\\u003c")
    styles, scripts = (
        "\n".join(path.read_text("utf-8") for path in paths) for paths in (STYLES, SCRIPTS)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{styles}
</style>
</head>
<body>
<main>
<header>
<h1>{escape(title)}</h1>
<p class="facts">{counts} of {size} voxels of {resolution_A:g} Å. Slices are {SLAB_A:g} Å thick and
lie in the middle. Click on images to turn them in 3D.</p>
<ul class="legend">{format_legend(channel_names)}</ul>
</header>
{table}
<p class="gallery-status" role="status"></p>
<noscript><p>Without JavaScript, this page shows slices only.</p></noscript>
<div class="gallery{" gallery-pairs" if crops is not None else ""}">
{"".join(cards)}<div class="reconstruction"></div>
</div>
<div class="studio" aria-hidden="true" inert></div>
</main>
<script type="application/json" id="images">{data}</script>
<script>
{scripts}
</script>
</body>
</html>
"""


def make_card(
    k: int,
    images: dict[str, Float[np.ndarray, "c x y z"]],
    slab: slice,
    channel_names: Sequence[str],
) -> str:
    """Return a button with the slices of a few images, by their labels, as HTML."""
    figures = []
    for label, image in images.items():
        light, dark = (
            encode_png(colour_slab(image, slab, channel_names, is_dark=x)) for x in (False, True)
        )
        figures.append(
            f'<span class="card-image"><span class="card-label">{label}</span>'
            f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
            f'<img src="{light}" alt="Slice of {label.lower()}"></picture>'
            '<span class="card-solid"></span></span>'
        )
    return (
        f'<button type="button" class="card" data-index="{k}" aria-expanded="false"'
        f' title="Open in 3D">{"".join(figures)}</button>\n'
    )


def encode_png(colours: Float[np.ndarray, "y x 3"]) -> str:
    """Return a picture as the address that has it within."""
    from matplotlib.image import imsave  # slow to import

    file = io.BytesIO()
    imsave(file, np.ascontiguousarray(colours), format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def format_legend(channel_names: Sequence[str]) -> str:
    """Return the colours of channels as items of a list."""
    return "".join(
        f'<li><span class="reconstruction-swatch" style="--light:{light};--dark:{dark}"></span>'
        f"{escape(name)}</li>"
        for name, (light, dark) in zip(channel_names, pick_colours(channel_names), strict=True)
    )


def format_scores(scores: pd.DataFrame) -> str:
    """Return a table of scores as HTML, numbers with three digits."""
    table = scores.to_html(index=False, border=0, float_format="{:.3g}".format, na_rep="")
    return f'<div class="scores">{table}</div>'
