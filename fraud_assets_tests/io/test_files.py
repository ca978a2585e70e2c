"""A file or folder is there completely or not at all, whoever dies and whoever writes beside."""

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fraud_io.files import adding_durably, replacing, write_atomically, write_durably

CONTENT = {"text": "naïve\n", "bytes": b"\x00\xff", "view": memoryview(b"\x00\xff")}


@pytest.mark.parametrize("write", [write_atomically, write_durably])
@pytest.mark.parametrize("content", CONTENT.values(), ids=CONTENT)
def test_what_is_written_is_read_and_nothing_else_lies_beside_it(tmp_path, write, content):
    file = tmp_path / "new" / "folder" / "file"
    write(file, "old")
    write(file, content)
    assert file.read_bytes() == (content.encode() if isinstance(content, str) else bytes(content))
    assert list(file.parent.iterdir()) == [file]


def test_a_new_file_has_the_rights_of_any_other(tmp_path):
    (tmp_path / "usual").touch()
    write_durably(tmp_path / "file", "")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_a_block_that_fails_leaves_the_old_file_alone(tmp_path):
    file = tmp_path / "file"
    write_atomically(file, "old")
    with pytest.raises(OSError, match="disk full"), replacing(file) as new:
        new.write_text("half of the n")
        raise OSError("disk full")
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(file, "old")]


@pytest.mark.parametrize("durably", [False, True])
def test_a_folder_takes_the_place_of_another(tmp_path, durably):
    folder = tmp_path / "folder"
    for content in ("a", "b"):
        with replacing(folder, durably=durably) as new:
            (new / "deep").mkdir(parents=True)
            (new / "deep" / content).write_text(content)
    assert [path.name for path in folder.rglob("*")] == ["deep", "b"]
    assert list(tmp_path.iterdir()) == [folder]


def test_of_two_that_add_a_folder_the_first_one_counts(tmp_path):
    folder = tmp_path / "folder"
    with pytest.raises(FileExistsError), adding_durably(folder) as slow:
        with adding_durably(folder) as fast:
            (fast / "first").touch()
        (slow / "second").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "first"]


def test_what_a_killed_writer_leaves_is_hidden_and_has_no_suffix_of_content(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from fraud_io.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as new:\n"
        "    new.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    file = tmp_path / "1.json"
    assert subprocess.run([sys.executable, "-c", code, file]).returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert (left.name[0], left.suffix) == (".", ".new")
    assert list(tmp_path.glob("*.json")) == []
    write_atomically(file, "{}")
    assert file.read_text() == "{}"


def write_often(file, letter):
    for _ in range(200):
        write_atomically(file, letter * 10_000)


def test_writers_of_one_file_never_mix_their_contents(tmp_path):
    file = tmp_path / "file"
    write_often(file, "a")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_often, args=(file, letter)) for letter in "abc"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(file.read_text())
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert seen <= {letter * 10_000 for letter in "abc"}
    assert list(tmp_path.iterdir()) == [file]


def test_a_durable_write_syncs_the_content_before_the_name_and_each_new_folders_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(handle):
        calls.append(("sync", Path(f"/dev/fd/{handle}").readlink().name))
        fsync(handle)

    def noted_replace(path, target):
        calls.append(("rename", target.name))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_durably(tmp_path / "a" / "b" / "file", "content")
    assert calls[:2] == [("sync", tmp_path.name), ("sync", "a")]
    assert calls[2][0] == "sync"
    assert calls[2][1].startswith(".file-")
    assert calls[3:] == [("rename", "file"), ("sync", "b")]
