"""From tables to pictures, still and interactive.

May import base and verification.
"""
