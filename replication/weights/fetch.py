"""Files of the Hugging Face Hub, verified before anything reads them.

One file, `destination/<name>`, is in one of four states, and the state alone decides what happens:

    verified  its SHA-256 is the pinned one                  -> nothing
    wrong     its SHA-256 is another                         -> it is deleted, and is absent
    absent    the user's Hugging Face cache has a valid copy -> a symbolic link to it
              it has none                                    -> a partial is begun
    partial   its first bytes are beside it, in              -> the rest is downloaded; with the right SHA-256 it is
              `.<name>.<8 digits of the pin>.partial`           renamed and verified; with a wrong one it is deleted
                                                                and started over once, then it is an error

Downloads go into a folder of their own, not into the cache, because home folders, which hold the cache, often have a
quota, and because the cache's layout and locks belong to huggingface_hub, which cannot resume there. The cache is only
read: a damaged copy in it is reported and ignored.

Any process continues a partial, whoever began it. Snakemake runs one download per model, under its lock on the folder.
Should two processes download at once nevertheless (a job that outlived its Snakemake, and the next run's), they need no
lock: both write the same bytes at the same offsets of one file, which is never truncated, and the first to verify it
renames it. Partials under another pin are deleted before the download starts, to free their space, and all partials
once the file is verified.

A file whose SHA-256 is null is pinned by the commit: the hub must name that commit and prove the content by its ETag (a
git blob id, or the SHA-256 of an LFS file), its JSON must parse, and `.<name>.origin` beside it records what it is a
copy of. A file with a SHA-256 may come from any mirror.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from threading import Thread

from huggingface_hub import constants

from replication.base.config import HubFiles
from replication.base.errors import UserError
from replication.base.files import put, state, write_json
from replication.base.hashes import digest_of, remember, sha256
from replication.base.progress import say, size_text
from replication.weights.answers import MismatchError, Remote, UnreachableError
from replication.weights.hub_file import PinnedFile, mismatch_of, recorded_origin
from replication.weights.transfer import Session

# Seconds until the first answer, including the look-up of the host's name, which has no time-out of its own.
FIRST_ANSWER_TIMEOUT = 25.0
ALTERNATIVES = (
    "put a copy into the Hugging Face cache ({cache}), name a folder with the files (folder:, lens_folder:) "
    "in config.yaml, or run the embedded model with --config model=miniature"
)


def fetch(source: HubFiles, destination: Path, memory: Path) -> dict[str, str]:
    """Brings every file named in `source.sha256` to `destination`, verified, and nothing else.

    Args:
        source: Repository, commit and files.
        destination: Folder for the files; made if missing.
        memory: JSON file with the hashes of files already hashed.

    Returns:
        SHA-256 of every file by name.

    Raises:
        UserError: A file cannot be obtained; one sentence says why and what would help.
    """
    try:
        destination.mkdir(parents=True, exist_ok=True)
        files = [PinnedFile(source, name, destination / name) for name in source.sha256]
        missing = [file for file in files if not _is_verified(file, memory) and not _link_to_cache(file, memory)]
        if missing:
            _download(missing, destination, memory)
        return {file.name: sha256(file.target, memory) for file in files}
    except OSError as error:
        raise UserError(
            f"{error.filename or destination}: {error.strerror or error}; what has been downloaded is "
            "kept: fix this and run the same command again to continue"
        ) from None


def _is_verified(file: PinnedFile, memory: Path) -> bool:
    """Whether the file exists and is verified; a wrong one is deleted."""
    try:
        before = state(file.target)
        digest = sha256(file.target, memory)
    except FileNotFoundError:
        return False  # The file, or what a link points to.
    if digest == file.pinned or (file.pinned is None and recorded_origin(file) == {**file.origin, "sha256": digest}):
        _remove(file.all_partials)
        return True
    say(f"{file.target}: this is not {file.label} at {file.source.revision}; deleted, to be downloaded again")
    # Another process may have replaced the wrong file by the right one meanwhile.
    with contextlib.suppress(FileNotFoundError):
        if state(file.target) == before:
            file.target.unlink()
    return False


def _link_to_cache(file: PinnedFile, memory: Path) -> bool:
    """Whether the user's Hugging Face cache has a valid copy; the file is then a link to it."""
    cached = file.cached
    if cached is None:
        return False
    try:
        # The cache names its blobs by their ETag, and a snapshot holds links to them.
        etag = os.path.basename(os.readlink(cached)) if os.path.islink(cached) else ""
        if file.pinned is None and not etag:
            return False  # Its content cannot be proven.
        copy = Path(cached).resolve()
        digest = sha256(copy, memory)
        flaw = mismatch_of(file, copy, digest, etag)
    except OSError as error:
        flaw = str(error.strerror)
    if flaw:
        say(f"{cached}: this copy in the Hugging Face cache is not used ({flaw}); you may want to delete it")
        return False
    link = file.target.with_name(f".{file.name}.{os.getpid()}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(copy)
    _put(file, link, digest, memory)
    say(f"{file.label}: found in the Hugging Face cache, verified")
    return True


def _download(files: list[PinnedFile], destination: Path, memory: Path) -> None:
    """Downloads files from the hub."""
    names = ", ".join(file.path_in_repo for file in files)
    alternatives = ALTERNATIVES.format(cache=constants.HF_HUB_CACHE)
    if constants.is_offline_mode():
        raise UserError(
            f"HF_HUB_OFFLINE is set, and there is no valid copy of {names} of {files[0].source.repo} at "
            f"{files[0].source.revision} in {destination} or in the cache; unset it, {alternatives}"
        )
    with Session(constants.ENDPOINT) as session:
        try:
            remotes = [_first_remote(session, files[0])]
        except UnreachableError as reason:
            raise UserError(
                f"{session.host} could not be reached for {names} ({reason}); check the network and the proxy "
                f"settings, set HF_ENDPOINT to a mirror, {alternatives}"
            ) from None
        remotes += [_remote(session, file) for file in files[1:]]
        for file in files:
            _remove(path for path in file.all_partials if path != file.partial)
        _check_space(files, remotes, destination)
        for file, remote in zip(files, remotes, strict=True):
            _obtain(file, remote, session, memory)


def _first_remote(session: Session, file: PinnedFile) -> Remote:
    """`_remote`, abandoned if the hub has not answered in time: the look-up of its name may hang for minutes."""
    future: Future[Remote] = Future()

    def run() -> None:
        try:
            future.set_result(_remote(session, file))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return future.result(FIRST_ANSWER_TIMEOUT)
    except TimeoutError:
        if session.answered:
            return future.result()
        raise UnreachableError(f"no answer in {FIRST_ANSWER_TIMEOUT:.0f} seconds") from None


def _remote(session: Session, file: PinnedFile) -> Remote:
    """What the hub says about the file, if it can be the pinned one."""
    remote = session.remote(file.address, file.label)
    if file.pinned is None and not remote.commit:
        raise UserError(
            f"{file.label}: {session.host} does not say which commit it serves (X-Repo-Commit), which alone pins this "
            "file; write its SHA-256 in place of null into config.yaml, or set HF_ENDPOINT to a hub that says it"
        )
    if file.pinned is None and remote.commit != file.source.revision:
        raise UserError(
            f"{file.label}: {session.host} has commit {remote.commit} instead of {file.source.revision}; "
            "check HF_ENDPOINT and the revision"
        )
    # Checked before gigabytes are downloaded in vain.
    if file.pinned is not None and re.fullmatch("[0-9a-f]{64}", remote.etag) and remote.etag != file.pinned:
        raise UserError(
            f"{file.label}: {session.host} has SHA-256 {remote.etag} at {file.source.revision}, and "
            f"config.yaml has {file.pinned}; correct the hash or the revision"
        )
    return remote


def _check_space(files: list[PinnedFile], remotes: list[Remote], destination: Path) -> None:
    """Raises UserError if the rest of the downloads does not fit on the disk."""
    here = sum(file.partial.stat().st_size for file in files if file.partial.exists())
    needed = sum(remote.size for remote in remotes) - here
    free = shutil.disk_usage(destination).free
    if needed > free:
        raise UserError(
            f"{destination}: {size_text(needed)} are still to be downloaded, but only {size_text(free)} are free; "
            "free some space and run the same command again"
        )


def _obtain(file: PinnedFile, remote: Remote, session: Session, memory: Path) -> None:
    """Continues the partial until the file is verified."""
    if _is_verified(file, memory):
        return  # Another process was faster.
    partial = file.partial
    for last in (False, True):
        try:
            session.download(file.address, file.label, remote, partial)
            digest = digest_of(partial)
            flaw = mismatch_of(file, partial, digest, remote.etag)
            if partial.stat().st_size != remote.size:
                flaw = f"it has {partial.stat().st_size} bytes instead of {remote.size}"
            if not flaw:
                _put(file, partial, digest, memory)
                say(f"{file.label}: {size_text(remote.size)}, verified")
                return
        except MismatchError as mismatch:
            flaw = str(mismatch)
        except FileNotFoundError:
            if _is_verified(file, memory):
                return  # Another process that wrote to the partial has renamed it.
            raise
        if not last:
            # Raises an error that spares the partial if it is not the hub that answers, but a login page.
            remote = _remote(session, file)
            say(f"{file.label}: {flaw}; starting over")
        partial.unlink(missing_ok=True)
    raise UserError(
        f"{file.label}: {session.host} failed twice: {flaw}; nothing of it was kept, so check "
        "HF_ENDPOINT and the pins in config.yaml"
    )


def _put(file: PinnedFile, path: Path, digest: str, memory: Path) -> None:
    """Renames the verified file to its final name."""
    if file.pinned is None:
        write_json(file.origin_path, {**file.origin, "sha256": digest})
    put(path, file.target)
    remember(file.target, digest, memory)
    _remove(file.all_partials)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
