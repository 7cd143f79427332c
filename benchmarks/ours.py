"""Experiments of this package in one process, over verified files: `python ours.py MODEL EXPERIMENTS.json`.

What `python -m replication step measure` does, with the model loaded once; in a folder where the model was verified.
"""

import argparse
import json
from pathlib import Path

from replication.base.config import checked_experiment
from replication.engine import numerics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("experiments", type=Path)
    parser.add_argument("--numerics", required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    numerics.prepare(arguments.numerics, arguments.threads)

    from replication.base import paths
    from replication.engine import measure
    from replication.engine.loaded import load
    from replication.weights.model_files import verified

    loaded = load(verified(paths.path(paths.VERIFIED, arguments.model), Path(paths.HASHES)))
    for name, values in json.loads(arguments.experiments.read_text()).items():
        measure.write(measure.measure(loaded, checked_experiment(name, values)), arguments.model, name)


if __name__ == "__main__":
    main()
