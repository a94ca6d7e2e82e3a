"""Signals that end training: noted while a step runs, obeyed between steps."""

import os
import signal


class Interrupted(BaseException):
    """A run was stopped from outside, and goes on from its last checkpoint when started again.

    Like KeyboardInterrupt, it may come out of any line, and is nothing that code may recover from.
    """

    exit_code = 0


class InterruptedBySignal(Interrupted):
    def __init__(self, number: signal.Signals):
        super().__init__(number.name)
        self.exit_code = 128 + number


class SignalWatch:
    """Where the signals that end training arrive while it is entered: Ctrl-C, a kill, a terminal
    that is closed, and SIGUSR1, by which Slurm says that the time is nearly over.

    The first one raises Interrupted at once, or waits in `received` while `is_patient`; a second
    Ctrl-C doesn't wait. Other signals may come twice: Slurm sends SIGTERM to a process, and to the
    srun that it was started by, which hands it on.

    may_raise: False for a process that follows another, which will be told what that one decides
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
        """Handle the signals, also where Lightning has put its own handlers in between."""
        for number in self.NUMBERS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame):
        is_second_interrupt = number == self.received == signal.SIGINT
        self.received = signal.Signals(number)
        if self.may_raise and (is_second_interrupt or not self.is_patient):
            raise InterruptedBySignal(self.received)


def begin_worker(training_pid: int, worker: int):
    """For processes that load data: the training process alone decides when to end."""
    for number in SignalWatch.NUMBERS:
        signal.signal(number, signal.SIG_IGN)
    # torch ends a worker whose parent is gone, but takes for its parent what it finds after this:
    # if training was killed until here, the worker would wait for ever.
    if os.getppid() != training_pid:
        os._exit(1)
