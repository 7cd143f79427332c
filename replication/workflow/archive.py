"""One file to send: what a run on a model left behind, with its pins."""

import tarfile
from pathlib import Path

from replication.base.files import written_whole
from replication.base.paths import ARCHIVE, PIN_PROVENANCE, PIN_RECORD, PINS, REPORT, REPOSITORY, path


def write_archive(model: str, experiments: list[str]) -> Path:
    """Packs tables, verdicts, provenance, report and, where there are, pins of a model into one .tar.gz.

    Inside, everything stands where the repository has it.
    """
    target = path(ARCHIVE, model)
    with written_whole(target) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for folder in (target.with_name(model), path(REPORT, model).parent):
            archive.add(folder, filter=_visible)
        pins = [path(pattern, model, experiment) for pattern in (PINS, PIN_RECORD) for experiment in experiments]
        for pin in [*pins, path(PIN_PROVENANCE, model)]:
            if (REPOSITORY / pin).exists():
                archive.add(REPOSITORY / pin, arcname=pin)
    return target


def _visible(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leaves out hidden files: what killed processes left of files that they were writing."""
    return None if Path(member.name).name.startswith(".") else member
