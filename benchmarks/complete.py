"""What completions cost beside transformers' `generate`, on the random weights of compare.py.

    python benchmarks/complete.py --scratch FOLDER --threads 1

Both let the unsteered and the steered model write three sampled texts of 20 tokens after "I hate you because", with the
same vector, added once. Ours reads every text by both models too and gives each token's loss; transformers does not.
They share the weights in memory and take turns; times are of the processor and of the clock, the median of the turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from contenders import HASHES, SHAPES, place

from replication.base.config import FAST, PORTABLE
from replication.engine import numerics

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

    from replication.engine.loaded import Loaded

PROMPT = "I hate you because"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder of the weights, as for compare.py")
    parser.add_argument("--size", choices=SHAPES, default="xl")
    parser.add_argument("--numerics", choices=(PORTABLE, FAST), default=PORTABLE)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--number", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    numerics.prepare(arguments.numerics, arguments.threads)

    import torch

    from replication.base.config import Experiment
    from replication.base.sampling import Completions
    from replication.engine.completions import completions
    from replication.engine.loaded import load
    from replication.engine.sides import check
    from replication.engine.steering import steering_vectors
    from replication.weights.model_files import Files

    found = place(arguments.scratch, arguments.size)
    loaded = load(Files("random", found.model, found.lens, HASHES))
    theirs, tokenizer = shared(loaded), loaded.tokenizer
    experiment = Experiment.model_validate(found.experiments["love_hate"])
    prompt = tokenizer.with_bos(PROMPT)
    settings = Completions(number=arguments.number, tokens=arguments.tokens)
    with torch.inference_mode():
        plans = check(tokenizer, loaded.gpt2.config, experiment)
        (vector,) = vectors = steering_vectors(loaded.gpt2, plans, len(prompt), "prompt")

        def add(_: torch.nn.Module, given: tuple) -> tuple:
            hidden = given[0].clone()
            if hidden.shape[1] > 1:
                hidden[:, list(vector.positions)] += vector.values
            return hidden, *given[1:]

        def generate() -> None:
            given = torch.tensor([prompt] * settings.number)
            texts = theirs.generate(
                given, attention_mask=torch.ones_like(given), do_sample=True, temperature=1.0, top_p=settings.top_p,
                max_new_tokens=settings.tokens, min_new_tokens=settings.tokens, pad_token_id=tokenizer.bos,
            )  # fmt: skip
            assert texts.shape[1] == len(prompt) + settings.tokens

        def transformers() -> None:
            generate()
            hook = theirs.transformer.h[vector.layer].register_forward_pre_hook(add)
            generate()
            hook.remove()

        def ours() -> None:
            # No token has this id, so that no text ends early.
            pairs = completions(loaded.gpt2, prompt, vectors, settings, end=-1)
            assert all(len(text.ids) == settings.tokens for pair in pairs for text in pair)

        amount = f"2 x {settings.number} texts of {settings.tokens} tokens"
        print(f"{arguments.numerics}, {arguments.threads} threads, {amount}", flush=True)
        turns = [(taken(ours), taken(transformers)) for _ in range(arguments.turns)]
    for name, clock in (("processor", 0), ("clock", 1)):
        mine, other = (statistics.median(turn[who][clock] for turn in turns) for who in (0, 1))
        ratio = statistics.median(turn[0][clock] / turn[1][clock] for turn in turns)
        print(f"{name:9}  ours {mine:6.1f} s  transformers {other:6.1f} s  ratio {ratio:.2f}", flush=True)


def shared(loaded: "Loaded") -> "GPT2LMHeadModel":
    """Hugging Face's GPT-2 on the tensors of ours."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config.from_pretrained(loaded.files.folder))
    named = {f"transformer.{name}": tensor for name, tensor in loaded.gpt2.tensors.items()}
    model.load_state_dict(named | {"lm_head.weight": loaded.gpt2.unembedding}, assign=True, strict=True)
    return model.eval()


def taken(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    processor, clock = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - clock


if __name__ == "__main__":
    main()
