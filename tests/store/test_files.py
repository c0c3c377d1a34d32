from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from workbench.store import files
from workbench.store.errors import StoreError

HOLD = """
import sys, time
from pathlib import Path
from workbench.store.files import locked
with locked(Path(sys.argv[1]), busy=""):
    print("held", flush=True)
    time.sleep(60)
"""


def test_locked__refuses_a_second_holder_until_the_first_lets_go(tmp_path):
    lock = tmp_path / "lock"
    with files.locked(lock, busy=""), pytest.raises(StoreError, match="in use"), files.locked(lock, busy="in use"):
        pass
    with files.locked(tmp_path / "lock", busy="in use"):
        pass


def test_locked__by_a_process_that_is_killed_is_free(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreError, match="in use"), files.locked(tmp_path / "lock", busy="in use"):
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with files.locked(tmp_path / "lock", busy="in use"):
        pass


def test_locked__error_inside_lets_go(tmp_path):
    with pytest.raises(ValueError), files.locked(tmp_path / "lock", busy="in use"):
        raise ValueError
    with files.locked(tmp_path / "lock", busy="in use"):
        pass


def test_write_text__leaves_no_draft(tmp_path):
    files.write_text(tmp_path / "a.toml", "x = 1\n")
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a.toml", "x = 1\n")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_is_full__no_space_quota_and_limit(number):
    assert files.is_full(OSError(number, ""))


def test_is_full__other_errors():
    assert not files.is_full(OSError(errno.EACCES, ""))
    assert not files.is_full(ValueError())


MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home {folder} nfs4 rw 0 0
/dev/vdb {folder}/local xfs rw 0 0
server:/x {folder}/with\\040space cifs rw 0 0
broken line
"""


@pytest.mark.parametrize(("name", "kind"), [("", "nfs4"), ("cells", "nfs4"), ("with space/cells", "cifs")])
def test_require_local__network_file_system_is_refused_with_advice(tmp_path, name, kind):
    (tmp_path / "mounts").write_text(MOUNTS.format(folder=tmp_path / "home"))
    with pytest.raises(StoreError, match=rf"network file system \({kind}\).*local disk"):
        files.require_local(tmp_path / "home" / name, mounts=tmp_path / "mounts")


@pytest.mark.parametrize("name", ["home/local/cells", "elsewhere"])
def test_require_local__local_disk_is_fine(tmp_path, name):
    (tmp_path / "mounts").write_text(MOUNTS.format(folder=tmp_path / "home"))
    files.require_local(tmp_path / name, mounts=tmp_path / "mounts")


def test_require_local__no_list_of_mounts(tmp_path):
    files.require_local(tmp_path, mounts=tmp_path / "none")


def test_make_folder__a_file_in_its_place_is_said_in_words(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(StoreError, match="expected a folder that can be written"):
        files.make_folder(tmp_path / "a" / "b")
