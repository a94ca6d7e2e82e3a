"""What the runs of an experiment would train: sizes, costs, the first losses, the time.

Usage:
    atompaint-vae plan EXPT [RUN...] [--device NAME] [--devices N]
    atompaint-vae plan (-h | --help)

EXPT is an experiment's name, date or folder; RUN a run of its hparams.nt, whose layers are then
listed too. The same as ./train.py --dry-run in that folder.

Mistakes in hparams.nt are named with line and column, all at once, before anything is computed.
Then, for each run: parameters; the latent's shape; the compression ratio, marked ! where the latent
is no smaller than the image; steps; crops of a step; multiply-adds of a step, forward and backward;
memory that a step keeps for its backward pass; the losses of the first batch with fresh weights;
and the time, from a few steps of real training on this machine. Ctrl-C leaves the runs that are
done.

Options:
    --device NAME    auto, cpu or cuda; auto is the GPU if there is one. [default: auto]
    --devices N      As many of them share each batch; multiply-adds and memory are then of one.
                     [default: 1]

Exit codes: 0 all could train; 2 something is wrong, and named; 130 interrupted.
"""

from __future__ import annotations

import docopt


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["plan", *argv])
    from ..records.experiment import Experiment
    from ..records.find import locate_experiment
    from ..training.launch import plan_runs
    from ..training.options import parse_number

    expt = Experiment(locate_experiment(arguments["EXPT"]))
    num_devices = parse_number(arguments, "--devices")
    plan_runs(expt, arguments["RUN"], arguments["--device"], num_devices)
    return 0
