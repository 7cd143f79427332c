"""From weights to numbers: GPT-2, steering, lens, controls; the one wing that imports torch.

May import base, weights, and of verification the published sets alone.
"""
