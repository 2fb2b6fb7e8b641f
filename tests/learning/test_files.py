"""Files are whole or absent, whoever writes, reads, or is killed meanwhile."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dyninfer.learning import digest, files
from dyninfer.learning.files import (
    check_target,
    label,
    read_file,
    read_folder,
    reason,
    write_file,
    write_folder,
)

OLD, NEW = b"old" * 1000, b"new" * 1000


def write_old(path):
    path.write_bytes(OLD)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fill_disk(monkeypatch):
    """A disk that takes a few bytes and then no more."""
    really_write = os.write
    counts = []

    def write(descriptor, content):
        counts.append(1)
        if len(counts) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really_write(descriptor, content[:7])

    monkeypatch.setattr(os, "write", write)


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = write_old(tmp_path / "file")
    assert write_file(path, NEW) == path
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file_and_a_sentence(tmp_path, monkeypatch):
    path = write_old(tmp_path / "file")
    fill_disk(monkeypatch)
    with pytest.raises(OSError, match="file' could not be written: No space left .* unchanged"):
        write_file(path, NEW)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["file"]


def test_a_read_only_file_is_left_as_it_is(tmp_path, monkeypatch):
    path = write_old(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(PermissionError, match="could not be written: it is read-only"):
        write_file(path, NEW)
    assert path.read_bytes() == OLD


def test_a_folder_that_is_gone_is_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="could not be written: No such file"):
        write_file(tmp_path / "gone" / "file", NEW)


def test_a_name_that_is_too_long_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint '.*x' cannot be used: File name too long"):
        check_target(tmp_path / ("x" * 500), "checkpoint")


def test_permissions_stay_and_a_new_file_gets_those_of_the_mask(tmp_path):
    path = write_old(tmp_path / "file")
    path.chmod(0o640)
    write_file(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    fresh, plain = write_file(tmp_path / "fresh", NEW), tmp_path / "plain"
    plain.touch()
    assert fresh.stat().st_mode == plain.stat().st_mode


def test_a_link_stays_and_the_file_behind_it_is_written(tmp_path):
    (tmp_path / "scratch").mkdir()
    real, link = write_old(tmp_path / "scratch" / "real"), tmp_path / "link"
    link.symlink_to("scratch/real")
    write_file(link, NEW)
    assert link.is_symlink()
    assert real.read_bytes() == NEW
    assert names(tmp_path) == ["link", "scratch"]


def test_links_in_a_circle_are_a_sentence(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="a' could not be written"):
        write_file(tmp_path / "a", NEW)


def test_a_temporary_name_is_never_one_that_is_there(tmp_path, monkeypatch):
    victim = write_old(tmp_path / "victim")
    tokens = iter(["0" * 16, "1" * 16])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(tokens))
    write_file(tmp_path / "file", NEW)
    trap = _partial_name(tmp_path / "file", "1" * 16)
    (tmp_path / trap).symlink_to(victim)
    with pytest.raises(FileExistsError, match="could not be written"):
        write_file(tmp_path / "file", NEW)
    assert victim.read_bytes() == OLD


def _partial_name(path, token):
    return f"{files._prefix(path)}{token}.partial"


def test_what_a_killed_save_left_goes_with_the_next_save(tmp_path):
    debris = tmp_path / _partial_name(tmp_path / "file", "ab" * 8)
    debris.write_bytes(b"half")
    folder = tmp_path / _partial_name(tmp_path / "file", "cd" * 8)
    folder.mkdir()
    (folder / "part").write_bytes(b"half")
    write_file(tmp_path / "file", NEW)
    assert names(tmp_path) == ["file"]


def test_what_others_write_or_have_named_stays(tmp_path):
    path = tmp_path / "file"
    alike = [".file.partial", "file.partial", _partial_name(path, "short"), ".dyninfer-x.partial"]
    for name in alike:
        (tmp_path / name).touch()
    at_work = tmp_path / _partial_name(path, "ef" * 8)
    with open(at_work, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_file(path, NEW)
    assert names(tmp_path) == sorted([*alike, at_work.name, "file"])


def test_a_folder_is_replaced_as_a_whole_and_a_link_to_it_stays(tmp_path):
    write_folder(tmp_path / "real", {"a": b"1", "b/c": b"2"})
    (tmp_path / "link").symlink_to("real")
    write_folder(tmp_path / "link", {"d": b"3"})
    assert read_folder(tmp_path / "real") == {"d": b"3"}
    assert names(tmp_path) == ["link", "real"]


def test_a_folder_that_another_save_takes_for_abandoned_is_made_again(tmp_path, monkeypatch):
    mkdir = Path.mkdir
    taken = []

    def mkdir_and_lose(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        if path.suffix == ".partial" and not taken:
            path.rmdir()
            taken.append(path)

    monkeypatch.setattr(Path, "mkdir", mkdir_and_lose)
    write_folder(tmp_path / "folder", {"a": b"1"})
    assert len(taken) == 1
    assert read_folder(tmp_path / "folder") == {"a": b"1"}
    assert names(tmp_path) == ["folder"]


def test_a_folder_is_replaced_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    monkeypatch.setattr("dyninfer.learning.files._exchange", lambda *_: False)
    write_folder(tmp_path / "folder", {"a": b"1"})
    write_folder(tmp_path / "folder", {"b": b"2"})
    assert read_folder(tmp_path / "folder") == {"b": b"2"}
    assert names(tmp_path) == ["folder"]


def disturb_reads(monkeypatch, folder, n):
    """Let another save replace the folder during each of the next n reads."""
    really_read = files._contents
    left = [n]

    def read(path):
        contents = really_read(path)
        if left[0] > 0:
            left[0] -= 1
            write_folder(folder, {"a": b"2"})
        return contents

    monkeypatch.setattr(files, "_contents", read)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)


def test_a_folder_that_is_replaced_during_many_reads_is_read_in_the_end(tmp_path, monkeypatch):
    write_folder(tmp_path / "folder", {"a": b"1"})
    disturb_reads(monkeypatch, tmp_path / "folder", 50)
    assert read_folder(tmp_path / "folder") == {"a": b"2"}


def test_a_folder_that_is_replaced_without_end_is_not_called_absent(tmp_path, monkeypatch):
    write_folder(tmp_path / "folder", {"a": b"1"})
    disturb_reads(monkeypatch, tmp_path / "folder", 10**9)
    monkeypatch.setattr(files, "_PATIENCE", 0.3)
    with pytest.raises(ValueError, match="folder' cannot be read: it is replaced again and again"):
        read_folder(tmp_path / "folder")


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="there is no model file '.*absent'"):
        read_file(tmp_path / "absent", "model file")
    with pytest.raises(FileNotFoundError, match="there is no folder '.*absent'"):
        read_folder(tmp_path / "absent")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="is not a file but a folder, a device or a pipe"):
            read_file(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_file("a\0b")


def test_messages_stay_short():
    assert len(label("x" * 5000)) < 110
    assert len(reason(ValueError("y" * 5000))) < 120
    assert reason(ValueError("one\ntwo.")) == "one two"


WRITER = """
import sys
from pathlib import Path
from dyninfer.learning.files import write_file
print("ready", flush=True)
k = 0
while True:
    k += 1
    write_file(Path(sys.argv[1]), bytes([k % 251]) * 3_000_000)
"""


def test_a_save_that_is_killed_leaves_one_whole_file(tmp_path):
    path = tmp_path / "file"
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = path.read_bytes()
        assert content == content[:1] * 3_000_000
    write_file(path, NEW)
    assert names(tmp_path) == ["file"]


def rewrite(path, number):
    for k in range(60):
        write_file(path, bytes([number + k]) * 200_000)


def test_several_writers_and_a_reader_see_whole_files_only(tmp_path):
    path = write_file(tmp_path / "file", bytes([255]) * 200_000)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=rewrite, args=(path, 60 * k)) for k in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        content = read_file(path)
        assert content == content[:1] * 200_000
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert names(tmp_path) == ["file"]


def test_a_digest_in_json_notices_every_changed_bit():
    text = json.dumps({"a": 1, digest.NAME: digest.EMPTY, "b": "x"}).encode()
    text = digest.fill_in(text, b"body")
    assert json.loads(text)["b"] == "x"
    assert digest.is_intact(text, b"body")
    assert not digest.is_intact(text, b"bodx")
    assert not digest.is_intact(text, b"bod", b"y")
    for place in range(8 * len(text)):
        changed = bytearray(text)
        changed[place // 8] ^= 1 << place % 8
        assert not digest.is_intact(bytes(changed), b"body")


def test_a_digest_behind_the_content_notices_every_changed_bit():
    content = digest.sealed(b"content")
    assert digest.unsealed(content) == b"content"
    assert digest.unsealed(b"content") is None
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 4
        if place < len(content) - 48:
            with pytest.raises(ValueError, match="does not match its digest"):
                digest.unsealed(bytes(changed))
