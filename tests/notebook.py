"""The notebooks of docs/, executed where they lie; `python tests/notebook.py` writes their outputs anew."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from replication.base.files import write_text
from replication.base.paths import REPOSITORY
from replication.engine.numerics import SETTINGS

NOTEBOOKS = sorted((REPOSITORY / "docs").glob("*.ipynb"))


def executed(file: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of its cells, run in its folder with the package of this checkout."""
    notebook = nbformat.read(file, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    resources = {"metadata": {"path": str(file.parent)}}
    # No times: they would differ at each run.
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False, resources=resources)
    # The tests have settled their own arithmetic; a reader's kernel has not.
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    client.execute(env=environment | {"PYTHONPATH": str(REPOSITORY)})
    # The reader's Python is not part of the notebook.
    notebook.metadata.pop("language_info", None)
    return notebook


if __name__ == "__main__":
    for notebook_file in NOTEBOOKS:
        write_text(notebook_file, nbformat.writes(executed(notebook_file)) + "\n")
