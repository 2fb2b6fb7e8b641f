"""Files that are whole or absent: the one place that writes, and a reader of one moment.

What is written lies under a name of its own in the folder of the target until it is complete, and
then takes the target's name in one step. A save that is killed leaves such a name behind; the next
save removes it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # Windows has other locks; there, age alone tells what is abandoned
    fcntl = None  # type: ignore[assignment]

# Longer names and reasons are cut in messages, which stay below 300 characters.
_LONGEST_NAME = 80
_LONGEST_REASON = 110
# Age in seconds of what is abandoned for sure, where the file system has no locks.
_ABANDONED = 86_400
# A folder that is replaced while it is read is read anew, for so many seconds: a read takes
# milliseconds, but on a busy machine many in a row may be disturbed.
_PATIENCE = 10.0
# Where names cannot be exchanged, a folder is absent for a moment while it is replaced.
_ABSENCE = 0.2
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class Partial(NamedTuple):
    """What is not whole yet: an open file or folder, and its name."""

    descriptor: int
    path: Path


def as_path(path: str | os.PathLike[str], name: str = "path") -> Path:
    """A path; a TypeError for what is none, such as the number of an open file."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be text or a Path, found {type(path).__name__}")
    return Path(path)


def label(path: str | os.PathLike[str]) -> str:
    """A path for a message, in quotes; of a long one its end."""
    text = os.fspath(path)
    if len(text) > _LONGEST_NAME:
        text = "…" + text[-_LONGEST_NAME:]
    return repr(text)


def check_target(path: str | Path, name: str = "path") -> Path:
    """Where a file is to be written, or a ValueError that says why it cannot be."""
    path = as_path(path, name)
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        # Such as a name too long, or a folder that may not be read.
        raise ValueError(f"{name} {label(path)} cannot be used: {reason(error)}") from None
    if not path.parent.is_dir():
        raise ValueError(f"the folder {label(path.parent)} does not exist; create it first")
    if path.is_dir():
        example = label(path / "model.safetensors")
        raise ValueError(f"{name} {label(path)} is a folder; name a file in it, such as {example}")
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{name} {label(path)} is a device or a pipe, which saving would replace; name a file"
        )
    return path


def write_file(path: str | Path, content: bytes | memoryview) -> Path:
    """Write a file as a whole; where that fails, the old one stays as it was.

    A link is followed to the file that it points to, whose permissions stay.

    Parameters
    ----------
    path : path
    content : bytes

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    OSError
        If the file cannot be written, as a sentence with its name.
    """
    path = as_path(path)
    with _errors_named(path):
        target = _target_of(path)
        _remove_abandoned(target)
        with _partial_file(target) as partial:
            _write_all(partial.descriptor, content)
            _copy_mode(target, partial.path)
            # Before the move: else a crash of the machine could leave a name without content.
            os.fsync(partial.descriptor)
            os.replace(partial.path, target)
        _sync_folder(target.parent)
    return path


def write_folder(path: str | Path, files: Mapping[str, bytes | memoryview]) -> Path:
    """Write a folder of files as a whole, as :func:`write_file`.

    Parameters
    ----------
    path : path
    files : mapping of str to bytes
        Contents by their path in the folder, with slashes.
    """
    path = as_path(path)
    with new_folder(path) as folder, _errors_named(path):
        for name, content in files.items():
            write_inside(folder / name, content)
    return path


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled, which takes the name ``path`` at the end, unless something fails."""
    with ExitStack() as stack:
        with _errors_named(path):
            target = _target_of(path)
            _remove_abandoned(target)
            partial = stack.enter_context(_partial_folder(target))
        # Errors of whoever fills it are theirs.
        yield partial.path
        with _errors_named(path):
            _copy_mode(target, partial.path)
            _replace_folder(partial.path, target)
            _sync_folder(target.parent)


def read_file(path: str | Path, kind: str = "file") -> bytes:
    """Content of a file at one moment.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read.
    """
    path = as_path(path)
    try:
        # A pipe must not be waited for.
        nonblocking = getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, os.O_RDONLY | nonblocking)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {kind} {label(path)}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{label(path)} cannot be read: {reason(error)}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ValueError(f"{label(path)} is not a file but a folder, a device or a pipe")
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read()
        except OSError as error:
            raise ValueError(f"{label(path)} cannot be read: {reason(error)}") from None


def read_folder(path: str | Path, kind: str = "folder") -> dict[str, bytes]:
    """Contents of all files of a folder by their path in it, at one moment.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it cannot be read.
    """
    started = time.monotonic()
    while True:
        try:
            before = _version_of(path)
            files = _contents(Path(path))
            if _version_of(path) == before:
                return files
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ValueError(f"{label(path)} cannot be read: {reason(error)}") from None
        # Another process has just replaced it, or there is none.
        seconds = time.monotonic() - started
        if seconds > _ABSENCE and not os.path.exists(path):
            raise FileNotFoundError(f"there is no {kind} {label(path)}")
        if seconds > _PATIENCE:
            raise ValueError(
                f"{label(path)} cannot be read: it is replaced again and again; "
                "load it when no process saves there"
            )
        # Longer than a file takes to be renamed, and too short to be noticed.
        time.sleep(0.01)


def reason(error: BaseException, longest: int = _LONGEST_REASON) -> str:
    """Why something failed, in one line of at most so many characters, without a final stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    line = " ".join(text.split())
    if len(line) > longest:
        line = line[:longest] + "…"
    return line.rstrip(".")


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise type(error)(
            f"{label(path)} could not be written: {reason(error)}; what was there before is "
            "unchanged"
        ) from None


def _target_of(path: Path) -> Path:
    """The file behind a link; the path itself where there is none."""
    try:
        target = path.resolve()
    except RuntimeError:  # of links in a circle, before Python 3.13
        raise OSError("its links lead in a circle") from None
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError("it is read-only")
    return target


def _prefix(target: Path) -> str:
    # A fingerprint of the name, as the name itself may be as long as a name can be.
    name = os.fsencode(target.name)
    fingerprint = hashlib.sha256(name).hexdigest()[:12]
    return f".dyninfer-{fingerprint}-"


def _unused_path(target: Path) -> Path:
    suffix = secrets.token_hex(8)
    return target.parent / f"{_prefix(target)}{suffix}.partial"


@contextmanager
def _partial_file(target: Path) -> Iterator[Partial]:
    """A new locked file beside the target, gone at the end unless it was moved."""
    # Windows would otherwise write two bytes for every line feed.
    binary = getattr(os, "O_BINARY", 0)
    creation = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    flags = creation | _NOFOLLOW | binary
    while True:
        path = _unused_path(target)
        descriptor = os.open(path, flags, 0o666)
        # Between the two lines, another save may have taken it for abandoned.
        if _lock(descriptor) is not False and path.exists():
            break
        os.close(descriptor)
    try:
        yield Partial(descriptor, path)
    finally:
        # Before the lock goes with the descriptor.
        path.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def _partial_folder(target: Path) -> Iterator[Partial]:
    """A new locked folder beside the target, gone at the end unless it was moved."""
    while True:
        path = _unused_path(target)
        path.mkdir()
        try:
            descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW)
        except FileNotFoundError:
            # Until it is locked, another save may take it for abandoned.
            continue
        if _lock(descriptor) is not False and path.exists():
            break
        os.close(descriptor)
    try:
        yield Partial(descriptor, path)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether a lock was to be had, which ends with its process; None where there are none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_abandoned(target: Path) -> None:
    """Remove what killed saves of the same target have left."""
    prefix = re.escape(_prefix(target))
    pattern = re.compile(prefix + r"[0-9a-f]{16}\.partial")
    for name in os.listdir(target.parent):
        if pattern.fullmatch(name):
            # Another save may be faster, and what is another user's is not ours to remove.
            with suppress(OSError):
                _remove_if_abandoned(target.parent / name)


def _remove_if_abandoned(path: Path) -> None:
    nonblocking = getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | nonblocking)
    try:
        is_free = _lock(descriptor)
        if is_free is None:
            age = time.time() - os.fstat(descriptor).st_mtime
            is_free = age > _ABANDONED
        if not is_free:
            return
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes | memoryview) -> None:
    rest = memoryview(content)
    while len(rest):
        # A disk that fills up takes a part first, and refuses the next.
        n_written = os.write(descriptor, rest)
        rest = rest[n_written:]


def write_inside(path: Path, content: bytes | memoryview) -> None:
    """Write a file, and the folders above it, in a folder of :func:`new_folder`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _copy_mode(target: Path, partial: Path) -> None:
    # A new file has the mode that the user's mask gives.
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(target.stat().st_mode)
        os.chmod(partial, mode)


def _sync_folder(folder: Path) -> None:
    """Let the new name outlast a crash of the machine, where folders can be asked to."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace_folder(partial: Path, target: Path) -> None:
    if not target.exists():
        os.replace(partial, target)
        return
    if _exchange(partial, target):
        # The old one, under the name that is removed at the end.
        return
    aside = _unused_path(target)
    os.replace(target, aside)
    try:
        os.replace(partial, target)
    except OSError:
        os.replace(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False where the system cannot."""
    names = os.fsencode(first), os.fsencode(second)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return library.renamex_np(*names, 2) == 0  # 2: RENAME_SWAP
        here = -100  # AT_FDCWD
        return library.renameat2(here, names[0], here, names[1], 2) == 0  # 2: RENAME_EXCHANGE
    except (AttributeError, OSError, TypeError):
        return False


def _version_of(path: str | Path) -> tuple[int, ...]:
    # The number of a removed folder may come again; its times do not.
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _contents(folder: Path) -> dict[str, bytes]:
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            files[name] = path.read_bytes()
    return files
