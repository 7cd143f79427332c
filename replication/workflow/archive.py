"""One file to send: what a run on a model left behind, with its pins."""

import tarfile
from pathlib import Path

from replication.base.files import written_whole
from replication.base.paths import ARCHIVE, PUBLISHED, REPORT, REPOSITORY, path
from replication.workflow.jobs import existing_pins


def write_archive(model: str, experiments: list[str]) -> Path:
    """Packs tables, verdicts, provenance, report and, if any, pins of a model into one .tar.gz; returns its path.

    Inside, everything stands where the repository has it.
    """
    target = path(ARCHIVE, model)
    with written_whole(target) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for folder in (path(PUBLISHED, model).parent, path(REPORT, model).parent):
            archive.add(folder, filter=_visible)
        for pin in existing_pins(model, experiments):
            archive.add(pin, arcname=Path(pin).relative_to(REPOSITORY))
    return target


def _visible(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leaves out hidden files: what killed processes left of files that they were writing."""
    return None if Path(member.name).name.startswith(".") else member
