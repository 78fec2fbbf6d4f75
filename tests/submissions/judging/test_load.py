"""How busy other programs are is seen, and the judge's own work is not taken for theirs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import namedtuple
from typing import Any

import psutil
import pytest

from challenge.submissions import machine
from challenge.submissions.judging.load import BUSY, Load, Meter

Times = namedtuple("Times", "user nice system idle iowait irq softirq steal guest guest_nice")
QUIET = Times(0, 0, 0, 1, 0, 0, 0, 0, 0, 0)


class Machine:
    """Four cores of which 1 and 2 are ours, over 10 seconds, as the system would count them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.cores = [QUIET] * 4
        self.own = (0.0, 0.0)
        self.clock = 100.0
        patch.setattr(machine, "core_numbers", lambda: [1, 2, 3])
        patch.setattr(psutil, "cpu_times", lambda percpu: self.cores)
        patch.setattr(time, "monotonic", lambda: self.clock)
        patch.setattr(
            os, "times", lambda: os.times_result((self.own[0], 0, self.own[1], 0, self.clock))
        )

    def pass_by(self, *, own: float = 0.0, ended: float = 0.0, **cores: dict[str, float]) -> None:
        self.clock += 10
        self.own = (own, ended)
        for name, changes in cores.items():
            number = int(name.removeprefix("core"))
            self.cores = [*self.cores]
            self.cores[number] = QUIET._replace(**changes)


@pytest.mark.parametrize(
    ("passed", "entry", "foreign", "stolen"),
    [
        ({}, 0.0, 0.0, 0.0),
        # The entry on both of its cores, by its own count or by that of processes that ended.
        ({"core1": {"user": 10}, "core2": {"system": 10}}, 20.0, 0.0, 0.0),
        ({"core1": {"user": 10}, "core2": {"user": 10}, "ended": 20.0}, 0.0, 0.0, 0.0),
        ({"core1": {"user": 10}, "core2": {"user": 10}, "ended": 20.0}, 20.0, 0.0, 0.0),
        # The supervisor too.
        ({"core1": {"user": 10}, "own": 4.0, "ended": 6.0}, 0.0, 0.0, 0.0),
        # Others, beside the entry or alone; niced ones and interrupts too.
        ({"core1": {"user": 10}, "core2": {"user": 10}}, 12.0, 0.4, 0.0),
        ({"core1": {"nice": 5}, "core2": {"irq": 1, "softirq": 1}}, 0.0, 0.35, 0.0),
        # What a hypervisor takes.
        ({"core1": {"user": 5, "steal": 5}}, 5.0, 0.25, 0.25),
        # On other cores nobody is in the way; waiting for a disk is no work.
        ({"core0": {"user": 10}, "core3": {"user": 10}, "core1": {"iowait": 10}}, 0.0, 0.0, 0.0),
        # The judge's own time on other cores makes it less, never more, and never negative.
        ({"core1": {"user": 3}, "own": 9.0}, 0.0, 0.0, 0.0),
        # A guest's time is in `user` already.
        ({"core1": {"user": 4, "guest": 4}}, 0.0, 0.2, 0.0),
    ],
)
def test_what_others_take_of_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    passed: dict[str, Any],
    entry: float,
    foreign: float,
    stolen: float,
) -> None:
    here = Machine(monkeypatch)
    meter = Meter(2)
    here.pass_by(**passed)
    load = meter.read(entry)
    assert load == Load(cores=2, foreign=foreign, stolen=stolen)
    assert load.busy == (foreign >= BUSY)


@pytest.mark.skipif(not machine.core_numbers(), reason="cores are not numbered here")
def test_a_busy_neighbour_is_seen_and_a_busy_child_is_not() -> None:
    """On this machine: what a process that is ours computes is not foreign, another's is."""
    core = machine.core_numbers()[0]
    code = f"import os, time; os.sched_setaffinity(0, [{core}]); end = time.monotonic() + 0.6\n"
    code += "while time.monotonic() < end: pass"
    meter = Meter(1)
    # Not waited for while it is looked at: so its time is not that of a process that ended.
    neighbour = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(0.5)
    seen = meter.read()
    neighbour.wait()
    assert seen.foreign > BUSY
    meter, before, began = Meter(1), os.times(), time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    child = os.times().children_user - before.children_user
    # Whatever else runs here, the child's part of the core is none of it.
    assert meter.read().foreign <= 1 - child / (time.monotonic() - began) + 0.1
