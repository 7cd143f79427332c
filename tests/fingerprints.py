"""Measures the miniature's four experiments and prints their fingerprints: `fingerprints.py portable|fast SCRATCH`.

A program of its own, because the arithmetic is settled before torch is imported and because it runs under emulators.
"""

import json
import sys
from pathlib import Path

from replication.engine import numerics

numerics.prepare(sys.argv[1], threads=1)

from replication.base.config import checked  # noqa: E402
from replication.base.paths import REPOSITORY  # noqa: E402
from replication.base.strict_yaml import read_yaml  # noqa: E402
from replication.engine.loaded import load  # noqa: E402
from replication.engine.measure import measure  # noqa: E402
from replication.weights import obtain as weights  # noqa: E402

config = checked(read_yaml(REPOSITORY / "config.yaml"))
scratch = Path(sys.argv[2])
loaded = load(weights.obtain("miniature", config.models["miniature"], scratch, scratch / "hashes.json"))
records = {name: measure(loaded, experiment).record for name, experiment in config.experiments.items()}
fingerprints = {name: record["fingerprint"] for name, record in records.items()}
print(json.dumps({"mode": numerics.mode(), "build": numerics.build(), "fingerprints": fingerprints}))
