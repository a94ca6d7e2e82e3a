"""The directive ``.. samples:: run``: what a run generated, beside test crops, and a path to it."""


from docutils import nodes
from docutils.parsers.rst import directives

from ...figures.stored_crops import StoredImageError
from ...figures.stored_samples import CHANNEL_NAMES, StoredSamples, find_samples, read_samples
from .packing import pack_images
from .viewer import DOTS_PER_INCH, StoredImagesDirective, name_picture, write_script


class SamplesDirective(StoredImagesDirective):
    """
    The images that a run generated, test crops to compare them with, and the path of one image
    from noise on.

    The first paragraph of the content is the caption; further ones go below the picture.

    run:     the run's folder, relative to the page's folder, or to the notebook's root if it begins
             with a slash
    samples: which images to show, in this order, separated by commas, such as ``1, 4``
    name:    a target for ``:ref:`` and ``:numref:``
    """

    option_spec = {  # noqa: RUF012  (docutils' way)
        "samples": directives.unchanged_required,
        "name": directives.unchanged,
    }

    def show(self) -> list[nodes.Node]:
        run = self.find_run(lambda run: [find_samples(run)])
        stored = read_samples(run)
        chosen = choose_samples(len(stored.samples), self.options.get("samples"))
        folder, key = self.find_folder()
        parts = ["samples", *(str(k + 1) for k in chosen if "samples" in self.options)]
        picture = folder / f"{name_picture(run, parts)}.png"
        picture.write_bytes(render_picture(stored, chosen))
        scripts = []
        for k in chosen:
            images, label = pair_images(stored, k)
            packed = pack_images(images, CHANNEL_NAMES, stored.resolution_A)
            scripts.append(write_script(packed, folder, f"{key}/sample-{k + 1}.js", label))
        view = {
            "title": f"Samples of {run.name}",
            "panels": ["Sample", "Test crop"] if len(stored.crops) else ["Sample"],
            "choice": "Sample",
            "crops": scripts,
        }
        return self.make_nodes(picture, describe_samples(stored, chosen), CHANNEL_NAMES, view)


def choose_samples(num_samples: int, numbers: str | None) -> list[int]:
    """
    Return the indices of samples by their numbers, such as "1, 4", in that order; all by default.

    raises: StoredImageError for an unknown number
    """
    if numbers is None:
        return list(range(num_samples))
    known = {str(k + 1): k for k in range(num_samples)}
    chosen = [x.strip() for x in numbers.split(",")]
    for number in chosen:
        if number not in known:
            hint = "; separate samples by commas" if " " in number else ""
            raise StoredImageError(f"no sample {number!r}; known: 1 to {num_samples}{hint}")
    return [known[x] for x in chosen]


def pair_images(stored: StoredSamples, k: int) -> tuple[list, str]:
    """Return a sample and, if there are any, a test crop to show beside it, and their label."""
    if not len(stored.crops):
        return [stored.samples[k]], f"{k + 1}"
    crop = k % len(stored.crops)
    return [stored.samples[k], stored.crops[crop]], f"{k + 1}, beside test crop {crop + 1}"


def render_picture(stored: StoredSamples, chosen: list[int]) -> bytes:
    """Return the slices of some samples, of the test crops and of the path as a PNG."""
    # matplotlib is slow to import, and most builds draw nothing.
    from ...figures.slices import draw_samples
    from ...figures.style import render_figure

    return render_figure(draw_samples(stored, chosen), "png", dpi=DOTS_PER_INCH)


def describe_samples(stored: StoredSamples, chosen: list[int]) -> str:
    """Describe the picture."""
    others = [f"{len(stored.crops)} test crops"] if len(stored.crops) else []
    if len(stored.path):
        levels = ", ".join(f"{x:.3g}" for x in stored.path_sigmas)
        others.append(f"one sample's path from noise to image, at σ = {levels}")
    shown = "; ".join([f"{len(chosen)} samples", *others])
    return f"Slices of {shown}."


def setup_component(app):
    app.add_directive("samples", SamplesDirective)
