"""From tables to verdicts: pins, second opinion, published values, claims, controls, two runs side by side.

May import base.
"""
