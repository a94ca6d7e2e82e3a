"""Signals that end training: received during a step, obeyed between steps."""

import os
import signal


class Interrupted(BaseException):
    """A run was stopped from outside; it resumes from its last checkpoint.

    Like KeyboardInterrupt, any line may raise it, and code must not handle it as an error.
    """

    exit_code = 0


class InterruptedBySignal(Interrupted):
    def __init__(self, number: signal.Signals):
        super().__init__(number.name)
        self.exit_code = 128 + number


class SignalWatch:
    """Handles the signals that end training: Ctrl-C, SIGTERM, a closed terminal, and SIGUSR1, which
    Slurm sends shortly before the time limit.

    The first one raises Interrupted at once, or is only stored in `received` while `is_patient`; a
    second Ctrl-C raises at once. Other signals may arrive twice: Slurm sends SIGTERM to a process
    and to its srun, which forwards it.

    may_raise: False for a process that follows another one, which decides for both
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

    def __init__(self, *, may_raise: bool = True):
        self.may_raise = may_raise
        self.is_patient = False
        self.received: signal.Signals | None = None

    def __enter__(self) -> "SignalWatch":
        self._previous = {number: signal.getsignal(number) for number in self.NUMBERS}
        self.take_over()
        return self

    def __exit__(self, *exception):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def take_over(self):
        """Handle the signals, also after Lightning has installed its own handlers."""
        for number in self.NUMBERS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame):
        is_second_interrupt = number == self.received == signal.SIGINT
        self.received = signal.Signals(number)
        if self.may_raise and (is_second_interrupt or not self.is_patient):
            raise InterruptedBySignal(self.received)


def begin_worker(training_pid: int, worker: int):
    """Make a data-loading process ignore signals: only the training process decides when to end."""
    for number in SignalWatch.NUMBERS:
        signal.signal(number, signal.SIG_IGN)
    # torch ends a worker whose parent is gone, but it reads the parent's id only after this: if
    # training was killed before that, the worker would wait forever.
    if os.getppid() != training_pid:
        os._exit(1)
