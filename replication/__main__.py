"""`python -m replication`: the command line."""

from replication.workflow.cli import main

main()
