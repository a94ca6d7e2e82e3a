"""Publish a trained model in the package, for `atompaint_vae.load_pretrained`.

Usage:
    atompaint-vae publish RUN NAME
    atompaint-vae publish (-h | --help)

RUN is a finished run, such as 20261124_longer_training/finer-wide-10-longer; its checkpoints must
be on this machine. Users will load the model by NAME. The weights of the best validation and the
run's records are written to atompaint_vae/pretrained/NAME, and the model card to
docs/models/NAME.rst. A model of the same name is replaced. Commit these files together with the
run's record.

Exit codes: 0 success; 2 there is no such run, or it can't be published.
"""

from pathlib import Path

import docopt

from ..records.find import UnknownRunError, find_expts_dir, find_runs, get_root


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["publish", *argv])
    expts_dir = find_expts_dir(Path.cwd())
    found = find_runs(expts_dir, [arguments["RUN"]])
    if len(found) != 1:
        known = ", ".join(found) or "none has a record"
        raise UnknownRunError(f"{arguments['RUN']!r} is not one run; known: {known}")

    from ..publishing.publish import publish_run
    from ..training.weights import PRETRAINED_DIR

    ((run_id, paths),) = found.items()
    name, root = arguments["NAME"], get_root(expts_dir)
    card = root / "docs" / "models" / f"{name}.rst"
    for path in publish_run(run_id, paths, PRETRAINED_DIR / name, card):
        print(f"{path.relative_to(root) if path.is_relative_to(root) else path}")
    return 0
