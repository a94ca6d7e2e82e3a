import math
import os

import hypothesis
import pytest

# A busy machine is no failure, and the suite is the same every time; to look for new examples:
# HYPOTHESIS_PROFILE=explore make test
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(autouse=True, scope="session")
def _use_one_thread():
    """Small tensors: threads would wait for each other more than they compute."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def write_run():
    """A function that writes a run that nobody trained, with curves in closed form."""
    from atompaint_vae.runs.hparams import Hparams, dump_hparams
    from atompaint_vae.runs.metrics import append_metrics
    from atompaint_vae.runs.record import RunPaths, RunRecord, save_record

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
        record = {"state": "finished", "compression_ratio": 10.5, "data_hash": "d" * 64, **record}
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
