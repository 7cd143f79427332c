"""One line that says whether two machines have the same numbers: a SHA-256 over an experiment's losses.csv.

Defined so that another program can compute it: the rows in the order of the table (protocol raw, then centred;
condition unsteered, then steered; layer 0, 1, ..., then output; position); of each row in this order
context_id, target_id, rank and top_id as 64-bit signed integers, then loss, entropy, kl_to_output and
top_probability as IEEE 754 32-bit numbers, all little-endian, nothing between them.
"""

import hashlib

import numpy as np
import pandas as pd

INTEGERS = ("context_id", "target_id", "rank", "top_id")
FLOATS = ("loss", "entropy", "kl_to_output", "top_probability")


def fingerprint(losses: pd.DataFrame) -> str:
    """SHA-256 over every statistic of a table but `rank_margin`, which only qualifies a rank; 64 hexadecimal digits.

    Args:
        losses: Columns of `tables.LOSSES`, rows in the order they are measured and written in.
    """
    row = np.dtype([*((name, "<i8") for name in INTEGERS), *((name, "<f4") for name in FLOATS)])
    packed = np.empty(len(losses), dtype=row)
    for name in (*INTEGERS, *FLOATS):
        packed[name] = losses[name].to_numpy()
    return hashlib.sha256(packed.tobytes()).hexdigest()
