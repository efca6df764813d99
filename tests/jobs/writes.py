"""Writes in every way into the folder that it runs in, and reads each back: `writes.py [--again]`.

With `--again` it does so until somebody ends it.
"""

import ctypes
import logging
import mmap
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys


def write():
    # checkpoints, written beside and renamed over
    os.makedirs("checkpoints", exist_ok=True)
    pathlib.Path("checkpoints/new.pt.tmp").write_bytes(b"weights" * 1000)
    os.replace("checkpoints/new.pt.tmp", "checkpoints/last.pt")
    assert pathlib.Path("checkpoints/last.pt").read_bytes() == b"weights" * 1000
    # a log in append mode, through logging and a shell
    handler = logging.FileHandler("train.log")
    handler.emit(logging.makeLogRecord({"msg": "epoch 1"}))
    handler.close()
    subprocess.run("echo from a shell >> train.log", shell=True, check=True)
    assert pathlib.Path("train.log").read_text().startswith("epoch 0\n")
    assert pathlib.Path("train.log").read_text().endswith("epoch 1\nfrom a shell\n")
    # deleted, and made anew
    if os.path.exists("old.txt"):
        os.remove("old.txt")
    assert not os.path.exists("old.txt")
    shutil.rmtree("old", ignore_errors=True)
    os.mkdir("old")
    assert os.listdir("old") == []
    # mode, times, truncation, extended attributes
    os.chmod("settings.toml", 0o600)
    os.utime("settings.toml", (1, 1))
    os.truncate("settings.toml", 3)
    assert (os.stat("settings.toml").st_mode & 0o777, os.stat("settings.toml").st_size) == (0o600, 3)
    os.chmod("data", 0o700)
    # links
    for name in ("soft", "hard"):
        if os.path.lexists(name):
            os.remove(name)
    os.symlink("settings.toml", "soft")
    os.link("settings.toml", "hard")
    pathlib.Path("soft").write_text("through a symbolic link")
    assert pathlib.Path("soft").read_text() == "through a symbolic link"
    pathlib.Path("one_of_two_names").write_text("through a hard link")
    # SQLite
    with sqlite3.connect("runs.db") as database:
        database.execute("insert into runs values (2)")
        assert (2,) in list(database.execute("select * from runs"))
    database.close()
    # the C library
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(libc.fopen(b"data/c.bin", b"r+"))
    assert file.value
    libc.fputs(b"from C", file)
    libc.fclose(file)
    assert pathlib.Path("data/c.bin").read_bytes().startswith(b"from C")
    # memory-mapped
    with open("data/array.bin", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:6] = b"mapped"
        memory.flush()
    assert pathlib.Path("data/array.bin").read_bytes()[:6] == b"mapped"
    # by full path, and into the home folder
    pathlib.Path.cwd().joinpath("full_path.txt").write_text("x")
    pathlib.Path.home().joinpath("cache.txt").write_text("x")


write()
print("read back what was written", flush=True)
while "--again" in sys.argv:
    write()
