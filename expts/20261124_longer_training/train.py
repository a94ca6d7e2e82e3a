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
    --weights        Train again what is finished, but whose weights are not on this machine:
                     git keeps the records of runs, not their weights. The records stay
                     as they are; those of the new training go to .again/.
"""

from atompaint_vae.runs.launch import main

if __name__ == "__main__":
    main(__doc__, __file__)
