#!/usr/bin/env python3
"""Train the runs of hparams.nt that are not finished, one after the other.

What was cut off goes on from its last checkpoint.

Usage:
    train.py [<run>...] [options]

Arguments:
    <run>            Train only these runs.

Options:
    --list           Show each run and how far it is; train nothing.
    --dry-run        Check hparams.nt and show what would train: sizes, costs, first losses, time;
                     train nothing.
    --max-steps N    Stop each run after N of its steps, as if it were cut off.
    --save-steps N   Write a checkpoint every N steps too, not only after each validation.
    --save-minutes M  ... and when the last one is M minutes old. [default: 10]
    --restart        Begin the runs anew; what there was of them goes to runs/.archive/.
    --device NAME    auto, cpu or cuda; auto is the GPU if there is one. [default: auto]
    --devices N      Train on N of them together, each with its part of every batch.
                     [default: 1]
    --weights        Train again what is finished, but whose weights are not on this machine:
                     git keeps the records of runs, not their weights. The records stay
                     as they are; those of the new training go to .again/.

Options for a cluster, where they override slurm.nt:
    --slurm          Submit the runs to Slurm, an array task each, which is requeued until its run
                     is finished. As a --dry-run, print the script.
    --time T         How long a task may take at a time, e.g. 4:00:00.
    --partition P    Where to submit to.
    --gres LIST      What a task needs, e.g. gpu:1.
    --array-limit N  Train at most N runs at once.
"""

from atompaint_vae.training.launch import train_experiment

if __name__ == "__main__":
    train_experiment(__doc__, __file__)
