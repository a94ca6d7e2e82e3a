"""Search for good hyperparameters: sample some, train them, learn where to sample next.

Usage:
    atompaint-vae search EXPT [--dry-run] [--device NAME] [--save-minutes M]
    atompaint-vae search (-h | --help)

EXPT is an experiment's name, date or folder. The key search of its hparams.nt says what to sample:

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

All else is in shared, as for any runs. Each trial becomes a run of the experiment: trial-000,
trial-001, ... Its values are written to trials.nt before it trains, its record to runs/, and
everything that reads runs reads it too: status, compare, the pages, ./train.py trial-007. After
each validation, a trial that is worse than the median of the finished ones is pruned.

Start the command again to go on: what was cut off, by kill -9 too, resumes exactly. Start it
several times, also on other machines that share the folder, for several workers: they never train
the same trial. A larger number of trials continues a search that was over. Samples that can't be
trained, such as a latent larger than the image, are noted as infeasible, and cost nothing.

Searches need Optuna: pip install 'atompaint_vae[search]'.

Options:
    --dry-run         Sample the next trials and show what they would train, as plan does; train and
                      write nothing.
    --device NAME     auto, cpu or cuda; auto is the GPU if there is one. [default: auto]
    --save-minutes M  Write a checkpoint when the last one is M minutes old. [default: 10]

Exit codes: 0 the search is over, or other workers are at its last trials; 1 a trial's files can't
be written; 2 something is wrong, and named; 130 interrupted.
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
