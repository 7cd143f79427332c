"""Experiments of this package in one process, over verified files: `python ours.py MODEL EXPERIMENTS.json`.

What `python -m replication measure` does, with the model loaded once; in a folder where the model was verified.
"""

import argparse
import json
from pathlib import Path

from replication import numerics
from replication.config import checked_experiment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("experiments", type=Path)
    parser.add_argument("--numerics", required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    numerics.prepare(arguments.numerics, arguments.threads)

    from replication import measure, models, paths, tables
    from replication.verified import verified

    loaded = models.load(verified(paths.path(paths.VERIFIED, arguments.model), Path(paths.HASHES)))
    for name, values in json.loads(arguments.experiments.read_text()).items():
        result = measure.measure(loaded, checked_experiment(name, values))
        for pattern, table, columns in (
            (paths.LOSSES, result.losses, tables.LOSSES),
            (paths.TOP10, result.top10, tables.TOP10),
            (paths.EFFECT, result.effect, tables.EFFECT),
            (paths.LOGIT_LENS, result.logit_lens, tables.LOGIT_LENS),
        ):
            tables.write(table, columns, paths.path(pattern, arguments.model, name))


if __name__ == "__main__":
    main()
