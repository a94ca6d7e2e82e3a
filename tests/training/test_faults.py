"""Runs that are disturbed end as one that never was, to the last bit: `make test-faults`.

Writes the table of what was tried, which docs/guide/reliability.rst shows.
"""

import contextlib
import io
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_expt import Pair, SmallExpt, train_pair

from atompaint_vae.records import record as record_module
from atompaint_vae.records.record import load_record
from atompaint_vae.training.checkpoints import _append_hash

pytestmark = pytest.mark.faults

TABLE = "faults.csv"
NUM_KILLS = 50
NUM_KILLS_OF_PAIRS = 5
KILLS_OF_A_RUN = 5


@pytest.fixture(autouse=True, scope="module")
def _load_crops_in_other_processes():
    """As users do: what is killed and disturbed here has loaders that must end, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SmallExpt, "num_loaders", 1)
        yield


@pytest.fixture(scope="module")
def duration_s(make_expt):
    start_s = time.monotonic()
    make_expt().train()
    return time.monotonic() - start_s


def mount(*args) -> None:
    command = ["mount", *map(str, args)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")


@contextlib.contextmanager
def mounted(folder: Path, *options):
    mount(*options, folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def read_only(folder: Path):
    if os.geteuid():
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    with mounted(folder, "--bind", folder):  # root may write to any folder that is only marked
        mount("-o", "remount,ro,bind", folder)
        yield


def interrupt(expt, number: int, after_s: float, *args: str) -> bool:
    """Whether a session was still there to be ended by a signal."""
    process = expt.start(*args)
    time.sleep(after_s)
    os.kill(process.pid, number)
    return process.wait()[0] != 0


def finish(expt, uncut) -> str:
    """What the last session of a run said; the run is the same as one that was never disturbed."""
    code, _, stderr = expt.train()
    assert code == 0, stderr
    expt.assert_same_run(uncut)
    return stderr


def test_kills(make_expt, uncut, duration_s, note):
    rng, num_kills, num_runs = random.Random(0), 0, 0
    while num_kills < NUM_KILLS:
        expt = make_expt()
        # Every other run writes checkpoints all the time, so that kills hit them too.
        args = ["--save-steps", "1"] if num_runs % 2 else []
        for _ in range(min(KILLS_OF_A_RUN, NUM_KILLS - num_kills)):
            if not interrupt(expt, signal.SIGKILL, rng.uniform(0, duration_s), *args):
                break  # it had finished
            num_kills += 1
        finish(expt, uncut)
        num_runs += 1
    note("kill -9 at a random moment", num_kills, "resumes from the last checkpoint")


# Python tells of each before it is done; files that are written whole are renamed then.
CHANGES = ("os.mkdir", "os.remove", "os.rename")


def kill_before_change(number: int):
    """In this process: kill -9 just before a file or folder of the run comes, goes or is renamed.

    number: how many of these changes are let pass, and one
    """
    numbers = itertools.count(1)

    def look(event: str, args: tuple):
        is_change = event in CHANGES and "runs/a" in str(args[0])
        if is_change and next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def test_kills_before_each_change_of_a_file(make_expt, uncut, note):
    expt = make_expt()
    for number in itertools.count(1):
        code, _, stderr = expt.train(prepare=partial(kill_before_change, number))
        if code != -signal.SIGKILL:
            break
    assert code == 0, stderr
    expt.assert_same_run(uncut)
    note("kill -9 before the 1st, 2nd, 3rd ... file is made, renamed or removed", number - 1,
         "resumes from the last checkpoint")  # fmt: skip


def find_processes(folder: Path) -> list[int]:
    """Those that work in a folder."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == folder.resolve():
                found.append(int(link.parent.name))
    return found


def wait_for_processes(folder: Path, number: int, timeout_s: float = 300):
    end = time.monotonic() + timeout_s
    while len(found := find_processes(folder)) != number:
        assert time.monotonic() < end, f"not {number} processes in {folder}: {found}"
        time.sleep(0.05)


def test_kill_while_another_process_starts(make_expt, uncut_pair, note):
    expt = make_expt()
    first = subprocess.Popen(
        [sys.executable, "train.py", "--device", "cpu", "--devices", "2"], cwd=expt.path
    )
    wait_for_processes(expt.path, 2)
    first.kill()
    first.wait()
    wait_for_processes(expt.path, 0)
    code, _, stderr = train_pair(expt)
    assert code == 0, stderr
    expt.assert_same_run(uncut_pair)
    note("kill -9 of the first of two processes (--devices 2), while the second starts", 1,
         "the second ends as well")  # fmt: skip


def test_kills_of_two_processes(make_expt, uncut_pair, duration_s, note):
    rng, num_kills = random.Random(0), 0
    while num_kills < NUM_KILLS_OF_PAIRS:
        expt = make_expt()
        for _ in range(KILLS_OF_A_RUN):
            processes = Pair(expt, "--save-steps", "1").processes
            time.sleep(rng.uniform(0, duration_s))
            rng.shuffle(processes)
            for process in processes:  # as srun --kill-on-bad-exit has it
                os.kill(process.pid, signal.SIGKILL)
                time.sleep(rng.uniform(0, 0.2))
            killed, _ = [process.wait()[0] for process in processes]
            if killed == 0:
                break  # it had finished
            num_kills += 1
        code, _, stderr = train_pair(expt)
        assert code == 0, stderr
        expt.assert_same_run(uncut_pair)
    note("kill -9 of one of two processes (--devices 2), then of the other", num_kills,
         "go on from the last checkpoint")  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals(make_expt, uncut, duration_s, note, number):
    rng, num_ended = random.Random(number), 0
    while num_ended < 3:
        expt = make_expt()
        while num_ended < 3 and interrupt(expt, number, rng.uniform(0, duration_s)):
            num_ended += 1
        finish(expt, uncut)
    note(f"{number.name} at a random moment", num_ended, "ends the step, writes a checkpoint")


def test_killed_between_two_checkpoints_names(make_expt, uncut, note):
    expt = make_expt()
    expt.train("--max-steps", "7")
    expt.paths.last.replace(expt.paths.previous)
    (expt.paths.checkpoints / ".last.ckpt.0011223344556677.tmp").write_bytes(b"new")
    assert "damaged" not in finish(expt, uncut)
    assert not list(expt.paths.checkpoints.glob(".*"))
    note("kill -9 while the new checkpoint takes its name", 1, "resumes from the previous one")


def flip_bit(path: Path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_in_half(path: Path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_zeros(path: Path):
    path.write_bytes(bytes(path.stat().st_size))


class Malicious:
    def __reduce__(self):
        return os.system, ("touch code-has-run",)


def replace_with_code(path: Path):
    archive = io.BytesIO()
    torch.save({"state_dict": Malicious()}, archive)
    _append_hash(archive)
    path.write_bytes(archive.getvalue())


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (flip_bit, "one bit of the last checkpoint flipped"),
        (cut_in_half, "the last checkpoint cut in half"),
        (fill_with_zeros, "the last checkpoint full of zeros"),
        (replace_with_code, "the last checkpoint is a pickle that runs code"),
    ],
)
def test_a_damaged_checkpoint(make_expt, uncut, note, damage, fault):
    expt = make_expt()
    expt.train("--max-steps", "7")
    damage(expt.paths.last)
    assert finish(expt, uncut).startswith(
        "runs/a/checkpoints/last.ckpt: damaged; resumes from the previous one, step 5\n"
    )
    assert not (expt.path / "code-has-run").exists()
    note(fault, 1, "says so, resumes from the previous one")


def test_two_damaged_checkpoints(make_expt, uncut, note):
    expt = make_expt()
    expt.train("--max-steps", "7")
    flip_bit(expt.paths.last)
    flip_bit(expt.paths.previous)
    code, _, stderr = expt.train()
    assert (code, stderr) == (
        2,
        "runs/a/checkpoints/previous.ckpt: can't be read: no checkpoint, or a damaged one; "
        "train.py --restart a trains it from scratch\n",
    )
    expt.train("--restart", "--max-steps", "1")
    finish(expt, uncut)
    note("both checkpoints damaged", 1, "refuses; --restart trains from scratch")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (flip_bit, "one bit of the best weights flipped"),
        (cut_in_half, "the best weights cut in half"),
        (Path.unlink, "the best weights removed"),
    ],
)
def test_damaged_best_weights(make_expt, uncut, note, damage, fault):
    expt = make_expt()
    expt.train("--max-steps", "7")
    damage(expt.paths.best)
    assert finish(expt, uncut).startswith(
        "runs/a/checkpoints/best.ckpt: damaged; restored from its copy\n"
    )
    note(fault, 1, "says so, puts them back from a copy")


def drop_half_a_line(path: Path):
    path.write_bytes(path.read_bytes()[:-20])


def add_half_a_line(path: Path):
    path.write_bytes(path.read_bytes() + b"12,2.4,0.")


def add_zeros(path: Path):
    path.write_bytes(path.read_bytes() + bytes(100))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (drop_half_a_line, "half a last line in train.csv and val.csv"),
        (add_half_a_line, "half a line more in train.csv and val.csv"),
        (add_zeros, "zeros at the end of train.csv and val.csv"),
        (Path.unlink, "train.csv and val.csv removed"),
    ],
)
def test_damaged_metrics(make_expt, uncut, note, damage, fault):
    expt = make_expt()
    expt.train("--max-steps", "11")
    for path in (expt.paths.train_metrics, expt.paths.val_metrics):
        damage(path)
    finish(expt, uncut)
    note(fault, 1, "restored from the checkpoint")


def fill_disk(folder: Path, *, leave: int):
    """Leave so many bytes free."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    (folder / "filler").write_bytes(bytes(free - leave))


@pytest.mark.parametrize("leave", [0, 4096, 16384])
def test_full_disk(make_expt, uncut, note, tmp_path, leave):
    expt, disk = make_expt(), tmp_path / "disk"
    disk.mkdir()
    (expt.path / "runs").symlink_to(disk)
    with mounted(disk, "-t", "tmpfs", "-o", "size=1m", "none"):
        expt.train("--max-steps", "7")
        before = expt.paths.last.read_bytes()
        fill_disk(disk, leave=leave)
        code, _, stderr = expt.train()
        assert code == 1, stderr
        *_, line = stderr.splitlines()
        assert line.startswith("a: failed: runs/a"), stderr
        rest = "no space left on device; train.py resumes from the last checkpoint"
        assert line.endswith(f": {rest}"), stderr
        assert "Traceback" not in stderr
        assert expt.paths.last.read_bytes() == before
        (disk / "filler").unlink()
        finish(expt, uncut)
    note(f"disk full, {leave // 1024} kB free", 1, "stops, says so; earlier checkpoints stay")


class AnyDatetime(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, datetime)


def set_clock_back():
    class Clock(datetime, metaclass=AnyDatetime):
        """Set back by an hour whenever somebody looks."""

        num_looks = 0

        @classmethod
        def now(cls, tz=None):
            cls.num_looks += 1
            return datetime.fromtimestamp(1.7e9 - 3600 * cls.num_looks, tz)

    record_module.datetime = Clock
    time.time = lambda: Clock.now().timestamp()


def test_clock_going_backwards(make_expt, uncut, note):
    expt = make_expt()
    for steps in ("4", "12"):
        assert expt.train("--max-steps", steps, prepare=set_clock_back)[0] == 0
    finish(expt, uncut)
    for table in (expt.paths.train_metrics, expt.paths.val_metrics):
        assert pd.read_csv(table)["elapsed_s"].is_monotonic_increasing
    for session in load_record(expt.paths.record).sessions:
        assert session.ended >= session.started
    note("clock set back by an hour, again and again", 2, "elapsed times grow as ever")


@pytest.mark.parametrize(
    ("folder", "code", "says"),
    [
        ("", 2, r"runs/a: can't be written to: {}"),
        ("checkpoints", 1, r"a: failed: runs/a/checkpoints/\w+\.ckpt: {}; "
                           "train.py resumes from the last checkpoint"),
    ],
)  # fmt: skip
def test_read_only_folder(make_expt, uncut, note, folder, code, says):
    expt = make_expt()
    expt.train("--max-steps", "7")
    with read_only(expt.paths.run_dir / folder):
        found, _, stderr = expt.train()
    assert found == code, stderr
    reason = "(permission denied|read-only file system)"
    assert re.fullmatch(says.format(reason), stderr.splitlines()[-1]), stderr
    assert "Traceback" not in stderr
    finish(expt, uncut)
    note(f"read-only folder {Path('runs/a', folder)}", 1, "stops, says so")


def test_lock_of_a_dead_process(make_expt, uncut, note):
    expt = make_expt()
    expt.train("--max-steps", "7")
    process = expt.start()
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    expt.paths.lock.write_text(f"{process.pid}\n")
    finish(expt, uncut)
    note("a lock file left by a dead process", 1, "the system has let go of it")


def test_two_processes(make_expt, uncut, note):
    expt = make_expt()
    first = expt.start()
    first.wait_for("runs/a/.lock")
    time.sleep(0.1)
    second = expt.start()
    assert second.wait()[0] == 2
    assert "runs/a: another process is training this run\n" in second.stderr.read_text()
    assert first.wait()[0] == 0
    finish(expt, uncut)
    note("a second process on the same run", 1, "the second refuses")
