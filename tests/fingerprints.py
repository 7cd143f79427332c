"""Measures the miniature's four experiments: `fingerprints.py portable|fast SCRATCH`.

Prints their fingerprints, what the comparison with their pins gives, and a digest of a product as wide as GPT-2 XL's,
since some libraries choose by the width what they do.

A program of its own, because the arithmetic is settled before torch is imported and because it runs under emulators.
"""

import hashlib
import json
import sys
from pathlib import Path

from replication.engine import numerics

numerics.prepare(sys.argv[1], threads=1)

import torch  # noqa: E402

from replication.base import tables  # noqa: E402
from replication.base.config import checked  # noqa: E402
from replication.base.files import read_json  # noqa: E402
from replication.base.paths import PIN_RECORD, PINS, REPOSITORY, path  # noqa: E402
from replication.base.strict_yaml import read_yaml  # noqa: E402
from replication.engine.loaded import load  # noqa: E402
from replication.engine.measure import measure  # noqa: E402
from replication.verification.pins import against_pins, pinned_cells  # noqa: E402
from replication.verification.rounding import tolerance_of  # noqa: E402
from replication.weights import obtain as weights  # noqa: E402

config = checked(read_yaml(REPOSITORY / "config.yaml"))
scratch = Path(sys.argv[2])
loaded = load(weights.obtain("miniature", config.models["miniature"], scratch, scratch / "hashes.json"))
measured = {name: measure(loaded, experiment) for name, experiment in config.experiments.items()}
fingerprints = {name: each.record["fingerprint"] for name, each in measured.items()}
pins = {}
for name, each in measured.items():
    pin = tables.read(REPOSITORY / path(PINS, "miniature", name), tables.PIN)
    allowed = tolerance_of(read_json(REPOSITORY / path(PIN_RECORD, "miniature", name)))
    pins[name] = against_pins(pinned_cells(each.losses, each.record), pin, allowed)
numbers = torch.Generator().manual_seed(0)
rows, weight = (torch.randn(n, 1600, generator=numbers) for n in (32, 2000))
product = hashlib.sha256(torch.nn.functional.linear(rows, weight).numpy().tobytes()).hexdigest()
printed = {"mode": numerics.mode(), "build": numerics.build(), "fingerprints": fingerprints, "pins": pins}
print(json.dumps(printed | {"product": product}))
