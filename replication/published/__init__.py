"""Numbers that others measured on the real weights and published, and whether ours come out the same.

`data` reads the published sets, `kinds` measures their quantities with the engine, `values` runs the sets that
belong to the weights at hand, `table` holds the verdicts. Only `kinds` and `values` need torch.
"""
