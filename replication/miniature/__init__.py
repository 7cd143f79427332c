"""The embedded model, and the recipe that made it.

May import base, weights, verification and engine.
"""
