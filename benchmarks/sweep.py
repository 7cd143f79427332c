"""What one steered sequence of a sweep costs, against its matrix products at this machine's own speed.

    python benchmarks/sweep.py --scratch FOLDER

Sends 16, 64 and 256 requests (the post's prompt and vectors of random numbers, at layers spread evenly over the model)
through replication.batches.steered_outputs, on the random weights of compare.py.
"""

import argparse
import statistics
import time
from pathlib import Path

from contenders import SHAPES, place

from replication import numerics

REQUESTS = (16, 64, 256)
SQUARE = 4096
"""Rows and columns of the products that measure the machine's speed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder of the weights, as for compare.py")
    parser.add_argument("--size", choices=SHAPES, default="xl")
    parser.add_argument("--numerics", choices=(numerics.PORTABLE, numerics.FAST), default=numerics.PORTABLE)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    numerics.prepare(arguments.numerics, arguments.threads)

    import torch

    from replication import models
    from replication.batches import Request, steered_outputs
    from replication.verified import Files

    found = place(arguments.scratch, arguments.size)
    loaded = models.load(Files("random", found.model, found.lens, {}))
    prompt = tuple(loaded.tokenizer.with_bos(found.experiments["love_hate"]["prompt"]))
    layers, d_model = loaded.gpt2.config.n_layer, loaded.gpt2.config.n_embd
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        speed = square_products()
        print(f"{arguments.numerics}, {arguments.threads} threads: square products at {speed / 1e9:.0f} GFLOP/s")
        print("requests  wall s  per sequence  its products  GFLOP  ratio  own GB")
        list(steered_outputs(loaded.gpt2, [Request(prompt, 0, torch.zeros(3, d_model))]))
        for number in REQUESTS:
            places = [i * layers // number for i in range(number)]
            requests = [Request(prompt, layer, torch.randn(3, d_model, generator=generator)) for layer in places]
            began = time.perf_counter()
            for _ in steered_outputs(loaded.gpt2, requests):
                pass
            wall = time.perf_counter() - began
            work = sum(products(layers - layer, len(prompt), d_model) for layer in places)
            work += products(layers, len(prompt), d_model)  # the prompt without steering, once
            print(
                f"{number:8} {wall:7.1f} {wall / number:11.3f} s {work / speed / number:11.3f} s "
                f"{work / number / 1e9:6.1f} {wall * speed / work:6.2f} {own_memory() / 1e9:7.2f}",
                flush=True,
            )


def products(blocks: int, positions: int, d_model: int) -> int:
    """Floating-point operations of the matrix products of some blocks for one sequence; attention itself included."""
    weights = 12 * d_model**2  # query, key, value: 3; the attention's output: 1; into and out of the MLP: 4 each
    return blocks * positions * 2 * (weights + 2 * positions * d_model)


def square_products() -> float:
    """Floating-point operations per second of square products, the median of five."""
    import torch

    matrix = torch.randn(SQUARE, SQUARE)
    seconds = []
    for _ in range(6):
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
