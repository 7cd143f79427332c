"""Replication package for "[ASoT] GPT2 Steering & The Tuned Lens" (Ulisse Mini, 2023)."""

__version__ = "0.1.0"
