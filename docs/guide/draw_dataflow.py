#!/usr/bin/env python3
"""Draw dataflow.svg beside this script: the way that data takes, one band for each package.

Usage:
    draw_dataflow.py
"""

from pathlib import Path

from atompaint_vae.figures.provenance.script import run_page_script

WIDTH, MARGIN = 760, 12
BAND_HEIGHT, BAND_GAP = 78, 26
LABEL_WIDTH = 132
BOX_HEIGHT, BOX_GAP = 40, 22

# package, what it is for, the steps, what the last of them holds
BANDS = [
    ("data", "what is seen", ["structure file", "atoms", "crop", "voxel image"], ""),
    ("models", "what is learned", ["encoder", "posterior", "latent", "decoder", "loss"], ""),
    ("training", "how", ["plan", "run"], "any kind of model: steps, checkpoints, resume"),
    ("records", "what is kept", ["run record"], "hparams, provenance, metrics"),
    ("figures", "what is drawn", ["figure + table"], "SVG and CSV beside the script"),
    ("notebook", "what is read", ["page"], "HTML, LaTeX, text"),
]

STYLE = """
  .flow-band { fill: currentColor; fill-opacity: .05; }
  .flow-box { fill: none; stroke: currentColor; stroke-opacity: .45; }
  .flow-arrow { fill: none; stroke: var(--color-brand-primary, #0a4bff); stroke-width: 1.5; }
  .flow-head { fill: var(--color-brand-primary, #0a4bff); }
  .flow-text { fill: currentColor; font: 14px sans-serif; }
  .flow-name { fill: currentColor; font: bold 15px monospace; }
  .flow-note { fill: currentColor; fill-opacity: .7; font: 12px sans-serif; }
"""


def draw_box(x, y, width, text):
    """A box with a word in it."""
    middle, baseline = x + width / 2, y + BOX_HEIGHT / 2 + 5
    return (
        f'<rect class="flow-box" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}"'
        f' height="{BOX_HEIGHT}" rx="6"/>\n'
        f'<text class="flow-text" text-anchor="middle" x="{middle:.0f}" y="{baseline:.0f}">'
        f"{text}</text>"
    )


def draw_band(top, name, note, words, content):
    """A package's band, its boxes and the arrows between them; also where the boxes are."""
    left = MARGIN + LABEL_WIDTH
    width = (WIDTH - MARGIN - left - BOX_GAP * len(words)) / max(len(words), 4)
    y = top + (BAND_HEIGHT - BOX_HEIGHT) / 2
    xs = [left + i * (width + BOX_GAP) for i in range(len(words))]
    parts = [
        f'<rect class="flow-band" x="{MARGIN}" y="{top}" width="{WIDTH - 2 * MARGIN}"'
        f' height="{BAND_HEIGHT}" rx="10"/>',
        f'<text class="flow-name" x="{MARGIN + 14}" y="{top + 35}">{name}</text>',
        f'<text class="flow-note" x="{MARGIN + 14}" y="{top + 54}">{note}</text>',
    ]
    parts += [draw_box(x, y, width, word) for x, word in zip(xs, words, strict=True)]
    middle = y + BOX_HEIGHT / 2
    parts += [
        f'<path class="flow-arrow" marker-end="url(#flow-head)"'
        f' d="M {x + width + 2:.0f} {middle:.0f} h {BOX_GAP - 7}"/>'
        for x in xs[:-1]
    ]
    if content:
        x = xs[-1] + width + BOX_GAP / 2
        parts.append(f'<text class="flow-note" x="{x:.0f}" y="{middle + 4:.0f}">{content}</text>')
    return parts, (xs[0] + width / 2, y), (xs[-1] + width / 2, y + BOX_HEIGHT)


def draw_dataflow():
    """The whole picture as SVG; its colours are those of the page around it."""
    height = 2 * MARGIN + len(BANDS) * BAND_HEIGHT + (len(BANDS) - 1) * BAND_GAP
    parts, end = [], None
    for i, (name, note, words, content) in enumerate(BANDS):
        top = MARGIN + i * (BAND_HEIGHT + BAND_GAP)
        band, begin, next_end = draw_band(top, name, note, words, content)
        parts += band
        if end is not None:
            between = top - BAND_GAP / 2
            parts.append(
                f'<path class="flow-arrow" marker-end="url(#flow-head)" d="M {end[0]:.0f}'
                f' {end[1] + 2:.0f} V {between:.0f} H {begin[0]:.0f} V {begin[1] - 6:.0f}"/>'
            )
        end = next_end
    words = ", ".join(f"{name}: {' to '.join(words)}" for name, _, words, _ in BANDS)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="The way that data takes. {words}">\n<style>{STYLE}</style>\n'
        '<marker id="flow-head" viewBox="0 0 6 6" refX="4" refY="3" markerWidth="6"'
        ' markerHeight="6" orient="auto"><path class="flow-head" d="M 0 0 L 6 3 L 0 6 z"/>'
        f"</marker>\n{body}\n</svg>\n"
    )


def main(folder):
    (folder / "dataflow.svg").write_text(draw_dataflow(), "utf-8")


if __name__ == "__main__":
    run_page_script(__doc__, Path(__file__), main)
