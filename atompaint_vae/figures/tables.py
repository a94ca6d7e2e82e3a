"""Tables of an experiment's runs."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..records.experiment import RecordedRun
from ..records.metrics import load_metrics
from ..text.files import write_atomic
from ..text.formats import format_shape


def make_compression_table(runs: Sequence[RecordedRun]) -> pd.DataFrame:
    """Return the size of each run's model and latent, and its R² on the test structures."""
    rows = []
    for run in runs:
        rows.append(
            {
                "run": run.name,
                "compression ratio": f"{run.record.sizes['compression_ratio']:.1f}",
                "test R²": _find_test_r2(run),
                "parameters": run.record.num_parameters,
                "latent shape": format_shape(run.record.sizes["latent_shape"]),
                "latent": run.hparams.model.latent,
                "layers": " → ".join(run.hparams.model.layers),
            }
        )
    return pd.DataFrame(rows)


def make_channel_table(runs: Sequence[RecordedRun]) -> pd.DataFrame:
    """Return R² on the test structures, overall and per channel; blank for empty channels."""
    rows = []
    for run in runs:
        metrics = load_metrics(run.paths.test_metrics).iloc[0]
        r2 = {
            "R²" if key == "r2" else f"R² {key.removeprefix('r2_')}": f"{metrics[key]:z.3f}"
            for key in metrics.index
            if key.startswith("r2") and key != "r2_zero" and pd.notna(metrics[key])
        }
        ratio = f"{run.record.sizes['compression_ratio']:.1f}"
        rows.append({"run": run.name, "compression ratio": ratio, **r2})
    return pd.DataFrame(rows)


def _find_test_r2(run: RecordedRun) -> str:
    if not run.paths.test_metrics.exists():
        return ""
    return f"{load_metrics(run.paths.test_metrics)['r2'].iloc[0]:z.3f}"


def save_table(table: pd.DataFrame, path: Path):
    """Write a CSV atomically, and print its name."""
    write_atomic(path, table.to_csv(index=False))
    print(path.name)


def make_score_table(counts: pd.DataFrame) -> pd.DataFrame:
    """
    Return precision, recall and RMSD as text for a table, without rows that have no true atoms.

    counts: sums over several crops
    """
    # It imports SciPy and torch, which other tables do without.
    from ..analysis.matching import score_matches

    scores = score_matches(counts[counts["true"] > 0]).reset_index()
    formats = {
        "min_weight": ("least weight", "{:g}"), "element": ("element", "{}"),
        "precision": ("precision", "{:.3f}"), "recall": ("recall", "{:.3f}"),
        "rmsd_A": ("RMSD [Å]", "{:.2f}"), "true": ("atoms", "{:.0f}"), "found": ("found", "{:.0f}"),
    }  # fmt: skip
    names = {key: name for key, (name, _) in formats.items()}
    for key in scores.columns.intersection(list(formats)):
        scores[key] = scores[key].map(
            lambda value, key=key: "" if pd.isna(value) else formats[key][1].format(value)
        )
    return scores.rename(columns=names)
