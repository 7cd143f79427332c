"""Pinned numbers, data alone: one table and one record per model and experiment, written by `snakemake pin`.

Holds no code.
"""
