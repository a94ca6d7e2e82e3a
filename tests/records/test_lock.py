import subprocess
import sys

import pytest

from atompaint_vae.records.lock import is_locked, lock_run
from atompaint_vae.records.record import RunPaths
from atompaint_vae.text.errors import UserError

HOLD = """
import sys, time
from atompaint_vae.records.lock import is_locked, lock_run
from atompaint_vae.records.record import RunPaths
with lock_run(RunPaths(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_refuses_until_the_first_is_gone(tmp_path):
    paths = RunPaths(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        message = "another process is training this run"
        with pytest.raises(UserError, match=message), lock_run(paths):
            pass
        assert is_locked(paths)
        first.kill()
    assert not is_locked(paths)
    with lock_run(paths):
        pass


TRY = """
import sys
from atompaint_vae.records.lock import is_locked
from atompaint_vae.records.record import RunPaths
print(is_locked(RunPaths(sys.argv[1])))
"""


def test_to_ask_for_the_lock_does_not_let_go_of_it(tmp_path):
    """POSIX locks of a process are gone as soon as it closes any of the file's descriptors."""
    paths = RunPaths(tmp_path)
    with lock_run(paths):
        assert is_locked(paths)
        with pytest.raises(UserError, match="this process is training this run already"):
            lock_run(paths).__enter__()
        command = [sys.executable, "-c", TRY, str(tmp_path)]
        other = subprocess.run(command, capture_output=True, text=True, check=True)
        assert other.stdout == "True\n"
    assert not is_locked(paths)
