import os
import signal

import pytest

from atompaint_vae.training.signals import InterruptedBySignal, SignalWatch


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SignalWatch.NUMBERS)
def test_a_signal_waits_for_the_step(number):
    with SignalWatch() as watch:
        watch.is_patient = True
        send(number)
        assert watch.received == number
        watch.is_patient = False
        with pytest.raises(InterruptedBySignal, match=signal.Signals(number).name) as interrupted:
            send(number)
    assert interrupted.value.exit_code == 128 + number


def test_a_second_ctrl_c_does_not_wait():
    with SignalWatch() as watch:
        watch.is_patient = True
        send(signal.SIGTERM)
        send(signal.SIGTERM)  # as Slurm does
        send(signal.SIGINT)
        with pytest.raises(InterruptedBySignal, match="SIGINT"):
            send(signal.SIGINT)
