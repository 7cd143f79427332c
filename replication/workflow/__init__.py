"""What starts a run and remembers it: command line, the Snakefile's helpers, digests of code, provenance.

May import every wing.
"""
