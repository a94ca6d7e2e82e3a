import gc
import math
import os

import hypothesis
import numpy as np
import pytest

pytest_plugins = ["small_expt"]

# What is imported stays.  To look through it for garbage, again in each forked process, would take
# a tenth of the suite's time.
gc.disable()

# A busy machine is no failure, and the suite is the same every time; to look for new examples:
# HYPOTHESIS_PROFILE=explore make test
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_configure(config):
    # Forked processes can't use a GPU, and the tests of the others expect the CPU.
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_addoption(parser):
    parser.addoption(
        "--write-tables", action="store_true",
        help="write the tables of faults in docs/guide; for all tests of a marker together",
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def _use_one_thread():
    """Small tensors: threads, of started programs too, would wait more than they compute."""
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def write_run():
    """A function that writes a run that nobody trained, with curves in closed form."""
    from atompaint_vae.config.hparams import dump_hparams
    from atompaint_vae.config.schema import Hparams
    from atompaint_vae.records.metrics import append_metrics
    from atompaint_vae.records.record import RunPaths, RunRecord, save_record

    def write(expt_dir, name, hparams=None, *, tau=5.0, epochs=20, **record):
        """
        R² is 1 - exp(-epoch / tau), the loss 100 exp(-epoch / tau); 10 steps an epoch, 6 s a step.

        hparams: dotted names and values
        record:  values of the record, or of its one session; `test=False` leaves test.csv out
        """
        values = {"model": {"layers": ["2x0e"], "latent": "2x0e"}, "train": {}}
        values["train"] = {"epochs": epochs, "steps_per_epoch": 10}
        for key, value in (hparams or {}).items():
            *section, leaf = key.split(".")
            target = values.setdefault(section[0], {}) if section else values
            target[leaf] = value
        paths = RunPaths(expt_dir / "runs" / name)
        paths.run_dir.mkdir(parents=True)
        paths.hparams.write_text(dump_hparams(Hparams.model_validate(values)), "utf-8")
        has_test = record.pop("test", True)
        session = {
            "command": "train.py", "device": "cpu", "versions": {}, "steps_start": 0,
            "started": "2025-01-01T00:00:00Z", "ended": "2025-01-01T00:20:00Z",
            "git_commit": record.pop("commit", "a" * 40), "exit": "finished",
            "steps_end": 10 * epochs, "error": record.pop("error", None),
        }  # fmt: skip
        sizes = {"compression_ratio": 10.5, **record.pop("sizes", {})}
        record = {"state": "finished", "sizes": sizes, "data_hash": "d" * 64, **record}
        names = {"run": name, "experiment": expt_dir.name}
        model = RunRecord.model_validate({**names, **record, "sessions": [session]})
        save_record(paths.record, model)

        def make_row(step):
            decay = math.exp(-step / 10 / tau)
            return {"step": step, "epoch": step / 10, "elapsed_s": 6.0 * step, "loss": 100 * decay}

        for step in range(5, 10 * epochs + 1, 5):
            append_metrics(paths.train_metrics, make_row(step))
        for step in range(10, 10 * epochs + 1, 10):
            row = make_row(step)
            append_metrics(paths.val_metrics, {**row, "r2": 1 - row["loss"] / 100})
        if has_test:
            append_metrics(paths.test_metrics, {"step": 10 * epochs, "r2": 1 - row["loss"] / 100})
        return paths

    return write


@pytest.fixture
def note(request, record_property):
    """Notes down a fault that lost nothing, for the module's TABLE in docs/guide."""

    def note(fault: str, times: int, then: str):
        """What, how often, what the program did."""
        row = {"fault": fault, "times": times, "lost": "nothing", "what happens": then}
        record_property(request.module.TABLE, row)

    return note


def get_place(report):
    """Line of the test and its parameters; workers report in any order."""
    return report.location[1] or 0, report.nodeid


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """Show the tables of faults, and write them where asked to if all tests have passed."""
    tables = {}
    for report in sorted(terminalreporter.stats.get("passed", ()), key=get_place):
        for name, row in report.user_properties:
            tables.setdefault(name, []).append(row)
    is_asked = config.getoption("write_tables")
    have_passed = exitstatus == 0 and "skipped" not in terminalreporter.stats
    for name, rows in tables.items():
        write_faults(config.rootpath / "docs/guide" / name, rows, is_asked and have_passed)


def write_faults(path, rows, is_final):
    import pandas as pd

    from atompaint_vae.figures.tables import save_table

    table = pd.DataFrame(rows)
    print("\n" + table.to_string(index=False))
    if is_final:
        save_table(table, path)
    else:
        print(f"{path.name} stays as it is: --write-tables writes it, if all tests have passed")


def fill_atoms(coords_A, channels, num_channels, size, resolution_A):
    """Blobs where the atoms are: no voxelizer's work, but filled fractions of the same kind."""
    axis = (np.arange(size) - (size - 1) / 2) * resolution_A
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    image = np.zeros((num_channels, size, size, size))
    for place, channel in zip(coords_A, channels, strict=True):
        image[channel] += np.exp(-((grid - place) ** 2).sum(-1) / 0.5) * 0.9
    return image.clip(0, 1)


@pytest.fixture(scope="session")
def write_reconstructions():
    """Writes the files of a run that its reconstructions are shown from, without training it."""

    def write(
        folder, size=13, names=("C", "N", "O"), resolution_A=1.0, has_atoms=True, blocks=(), seed=0
    ):
        rng = np.random.default_rng(seed)
        half_A = (size - 1) / 2 * resolution_A
        arrays = {
            "rank": np.array(["worst", "median", "best"]),
            "sample_index": np.array([7, 3, 11]),
            "r2": np.array([0.25, 0.5, 0.75], dtype=np.float32),
            "structure": np.array(["1ABC", "2DEF", "3GHI"]),
        }
        images, reconstructions = [], []
        for k in range(3):
            coords_A = rng.uniform(-half_A, half_A, size=(30, 3)).astype(np.float32)
            channels = rng.integers(len(names), size=30).astype(np.uint8)
            images.append(fill_atoms(coords_A, channels, len(names), size, resolution_A))
            reconstructions.append(0.8 * images[-1])
            if has_atoms:
                arrays |= {f"coords_A_{k}": coords_A, f"channels_{k}": channels}
        for crop, channel, first, last, filled in blocks:
            region = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
            reconstructions[crop][(slice(None), *region)] = 0
            reconstructions[crop][(channel, *region)] = filled
        arrays |= {
            "image": np.array(images, dtype=np.float16),
            "reconstruction": np.array(reconstructions, dtype=np.float16),
        }
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / "reconstructions.npz", **arrays)
        (folder / "hparams.nt").write_text(f"data:\n  resolution_A: {resolution_A}\n", "utf-8")
        columns = ",".join(["step", "r2", "r2_zero", *(f"r2_{x}" for x in names)])
        (folder / "test.csv").write_text(f"{columns}\n", "utf-8")
        return arrays

    return write


@pytest.fixture(scope="session")
def write_samples():
    """Writes the file of a run that its samples are shown from, without training it."""

    def write(folder, num_samples=3, num_crops=3, num_steps=4, size=9, resolution_A=1.0, seed=0):
        rng = np.random.default_rng(seed)
        half_A = (size - 1) / 2 * resolution_A

        def make_images(num_images):
            images = np.zeros((num_images, 6, size, size, size))
            for image in images:
                coords_A = rng.uniform(-half_A, half_A, size=(20, 3))
                image[:] = fill_atoms(coords_A, rng.integers(4, size=20), 6, size, resolution_A)
            return images.astype(np.float16)

        arrays = {
            "sample": make_images(num_samples),
            "crop": make_images(num_crops),
            "path": make_images(num_steps),
            "path_sigma": np.geomspace(20, 0.02, num_steps, dtype=np.float32),
            "resolution_A": np.float64(resolution_A),
        }
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(folder / "samples.npz", **arrays)
        return arrays

    return write
