"""A model's files, from the hub or a local folder, proven by SHA-256.

May import base.
"""
