"""Search for good hyperparameters: sample some, train them, and use the results to sample more.

Usage:
    atompaint-vae search EXPT [--dry-run] [--device NAME] [--save-minutes M]
    atompaint-vae search (-h | --help)

EXPT is an experiment's name, date or folder. Its hparams.nt lists what to sample, below `search:`

    search:
      trials: 30
      space:
        optim.learning_rate:
          low: 0.003
          high: 0.1
          log: true
        model.latent:
          - 10x0e
          - 4x0e+2x1e

All other values are in `shared:`, as for other runs. Each trial becomes a run of the experiment:
trial-000, trial-001, ... Its values are written to trials.nt before training, its record to runs/.
It can be used like any other run: in status, compare, the pages, ./train.py trial-007. After each
validation, a trial that is worse than the median of the finished ones is pruned.

The search prints each trial's values and result, the trials done and the time left, and at the end
the best trials.

Start the command again to continue: interrupted trials resume exactly, even after kill -9. For
several workers, start it several times, also on other machines that share the folder: they never
train the same trial. To continue a finished search, increase the number of trials. Samples that
can't be trained, such as a latent larger than the image, are recorded as infeasible, and take no
time.

Searches need Optuna: pip install 'atompaint_vae[search]'.

Options:
    --dry-run         Sample the next trials and show their plans; train and write nothing.
    --device NAME     auto, cpu or cuda; auto is the GPU if there is one. [default: auto]
    --save-minutes M  Write a checkpoint when the last one is M minutes old. [default: 10]

Exit codes: 0 the search is over, or other workers are training its last trials; 1 a trial's files
can't be written; 2 a mistake, which is shown; 130 interrupted.
"""

import docopt


def main(argv: list[str]) -> int:
    arguments = docopt.docopt(__doc__, ["search", *argv])
    from ..records.experiment import Experiment
    from ..records.find import locate_experiment
    from ..search.search import plan_search, search_runs
    from ..training.options import parse_minutes

    expt = Experiment(locate_experiment(arguments["EXPT"]))
    save_minutes = parse_minutes(arguments, "--save-minutes")
    if arguments["--dry-run"]:
        plan_search(expt, device=arguments["--device"])
        return 0
    return search_runs(expt, device=arguments["--device"], save_minutes=save_minutes)
