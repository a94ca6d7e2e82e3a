"""Show what the runs of an experiment would train: sizes, costs, first losses, time.

Usage:
    atompaint-vae plan EXPT [RUN...] [--device NAME] [--devices N]
    atompaint-vae plan (-h | --help)

EXPT is an experiment's name, date or folder. RUN is a run of its hparams.nt; for named runs, the
layers are listed too. ./train.py --dry-run in that folder does the same.

First, all mistakes in hparams.nt are listed with line and column. Then each run gets a line:
parameters; other sizes, of a VAE the latent's shape and the compression ratio, marked ! if the
latent isn't smaller than the image; steps; crops per step; multiply-adds of a step, forward and
backward; memory that a step stores for its backward pass; the losses of the first batch with
initial weights; and the time, estimated from a few training steps on this machine. Ctrl-C stops;
finished lines stay.

Options:
    --device NAME    auto, cpu or cuda; auto is the GPU if there is one. [default: auto]
    --devices N      Number of devices that share each batch; multiply-adds and memory are then
                     those of one device. [default: 1]

Exit codes: 0 all runs can be trained; 2 a mistake, which is shown; 130 interrupted.
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
