"""What every wing stands on: files, paths, tables, configuration, errors. Knows no GPT-2 and no figure.

Imports nothing of ours.
"""
