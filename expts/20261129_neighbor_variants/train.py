#!/usr/bin/env python3
"""Train the unfinished runs of hparams.nt, one after the other.

Interrupted runs resume from their last checkpoints.

Usage:
    train.py [<run>...] [options]

Arguments:
    <run>            Train only these runs.

Options:
    --list           Show each run's state and progress; train nothing.
    --dry-run        Check hparams.nt and show each run's sizes, costs, first losses and time;
                     train nothing.
    --max-steps N    Stop each run at its step N, as if it were interrupted.
    --save-steps N   Write a checkpoint every N steps too, not only after each validation.
    --save-minutes M  ... and when the last one is M minutes old. [default: 10]
    --restart        Train the runs from scratch; their old folders are moved to runs/.archive/.
    --device NAME    auto, cpu or cuda; auto is the GPU if there is one. [default: auto]
    --devices N      Train on N devices together; they share each batch. [default: 1]
    --nodes N        Train on the devices of N machines together. Without --slurm, start the command
                     on each, by srun, torchrun or with these variables: MASTER_ADDR and
                     MASTER_PORT of the first machine; NODE_RANK, from 0 on. [default: 1]
    --weights        Train finished runs again whose weights are not on this machine: git keeps
                     the records of runs, not their weights. The records stay unchanged; those
                     of the new training are written to .again/.

Options for a cluster, where they override slurm.nt:
    --slurm          Submit the runs to Slurm as an array, one task for each run; a task is requeued
                     until its run is finished. With --dry-run, print the script.
    --time T         Time limit of a task before it is requeued, e.g. 4:00:00.
    --partition P    Partition to submit to.
    --gres LIST      Resources of a task, e.g. gpu:1.
    --array-limit N  Train at most N runs at once.
"""

from atompaint_vae.training.launch import train_experiment

if __name__ == "__main__":
    train_experiment(__doc__, __file__)
