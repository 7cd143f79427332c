"""Measures the miniature's four experiments and prints their fingerprints: `fingerprints.py portable|fast SCRATCH`.

A program of its own, because the arithmetic is settled before torch is imported and because it runs under emulators.
"""

import json
import sys
from pathlib import Path

from replication import numerics

numerics.prepare(sys.argv[1], threads=1)

from replication import models, weights  # noqa: E402
from replication.config import REPOSITORY, checked  # noqa: E402
from replication.measure import measure  # noqa: E402
from replication.workflow import read_yaml  # noqa: E402

config = checked(read_yaml(REPOSITORY / "config.yaml"))
scratch = Path(sys.argv[2])
loaded = models.load(weights.obtain("miniature", config.models["miniature"], scratch, scratch / "hashes.json"))
records = {name: measure(loaded, experiment).record for name, experiment in config.experiments.items()}
fingerprints = {name: record["fingerprint"] for name, record in records.items()}
print(json.dumps({"mode": numerics.mode(), "build": numerics.build(), "fingerprints": fingerprints}))
