"""From tables to words: report, index, tables to read, citation, two runs side by side.

May import base, verification, and of figures the texts that describe them.
"""
