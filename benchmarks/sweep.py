"""What one steered sequence of a sweep costs, against its matrix products at this machine's own speed.

    python benchmarks/sweep.py --scratch FOLDER

Sends 16, 64 and 256 requests (the post's prompt and vectors of random numbers, at layers spread evenly over the model)
through replication.engine.batches.predictions, read-out of the output included, on the random weights of compare.py.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from contenders import HASHES, SHAPES, place

from replication.base.config import FAST, PORTABLE
from replication.engine import numerics

if TYPE_CHECKING:
    from replication.engine.gpt2_config import Config

REQUESTS = (16, 64, 256)
SQUARE = 4096
"""Rows and columns of the products that measure the machine's speed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder of the weights, as for compare.py")
    parser.add_argument("--size", choices=SHAPES, default="xl")
    parser.add_argument("--numerics", choices=(PORTABLE, FAST), default=PORTABLE)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    numerics.prepare(arguments.numerics, arguments.threads)

    import torch

    from replication.engine.batches import Prompt, Request, predictions
    from replication.engine.loaded import load
    from replication.engine.steering import SteeringVector
    from replication.weights.model_files import Files

    found = place(arguments.scratch, arguments.size)
    loaded = load(Files("random", found.model, found.lens, HASHES))
    ids = loaded.tokenizer.with_bos(found.experiments["love_hate"]["prompt"])
    prompt = Prompt(tuple(ids), tuple((target,) for target in (*ids[1:], loaded.tokenizer.bos)))
    shape = loaded.gpt2.config
    generator = torch.Generator().manual_seed(0)

    def random(layer: int) -> tuple[SteeringVector]:
        rows = torch.randn(3, shape.n_embd, generator=generator)
        return (SteeringVector(layer, (0, 1, 2), rows, rows, {}),)

    with torch.inference_mode():
        print(f"{arguments.numerics}, {arguments.threads} threads")
        print("requests  wall s  per sequence  its products  GFLOP  square GFLOP/s  ratio  own GB")
        list(predictions(loaded.gpt2, [Request(prompt, random(0))]))
        for number in REQUESTS:
            places = [i * shape.n_layer // number for i in range(number)]
            requests = [Request(prompt, random(layer)) for layer in places]
            before = square_products()
            began = time.perf_counter()
            for _ in predictions(loaded.gpt2, requests):
                pass
            wall = time.perf_counter() - began
            # A shared machine's speed changes by the minute: it is measured on both sides.
            speed = (before + square_products()) / 2
            # The prompt without steering is needed once, from the bottom.
            work = sum(products(shape, shape.n_layer - layer, len(ids)) for layer in (0, *places))
            print(
                f"{number:8} {wall:7.1f} {wall / number:11.3f} s {work / speed / number:11.3f} s "
                f"{work / number / 1e9:6.1f} {speed / 1e9:15.0f} {wall * speed / work:6.2f} {own_memory() / 1e9:7.2f}",
                flush=True,
            )


def products(shape: "Config", blocks: int, positions: int) -> int:
    """Floating-point operations of the matrix products of one sequence: its upper `blocks`, and the unembedding."""
    weights = 12 * shape.n_embd**2  # query, key, value: 3; the attention's output: 1; into and out of the MLP: 4 each
    attention = 2 * positions * shape.n_embd
    return 2 * positions * (blocks * (weights + attention) + shape.n_embd * shape.vocab_size)


def square_products() -> float:
    """Floating-point operations per second of square products, the median of three."""
    import torch

    matrix = torch.randn(SQUARE, SQUARE)
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - began)
    return 2 * SQUARE**3 / statistics.median(seconds[1:])


def own_memory() -> int:
    """Anonymous memory of this process, in bytes."""
    from processes import resident

    return resident("self")["RssAnon"]


if __name__ == "__main__":
    main()
