"""The rules of system calls as a filter in the kernel, installed by the process itself.

Calls that are newer than the table do not exist for the process.

seccomp(2); Linux, x86_64 and aarch64. Free of everything but the standard library.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Collection

from challenge.submissions.jail.call_rules import Rule, rules
from challenge.submissions.jail.syscalls import NEWEST, number

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The kernel's names of the machines."""

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
"""Instructions of the filter."""


def machine_known() -> bool:
    """Whether the filter can be made for this machine."""
    return os.uname().machine in _ARCHITECTURES


def program(controls: Collection[str], pid: int, machine: str) -> bytes:
    """The filter: BPF instructions, 8 bytes each.

    Args:
        controls: of `call_rules.CONTROLS`.
        pid: the process that the filter is for, by its own count.
        machine: `x86_64` or `aarch64`.
    """
    made = [
        _step(_LOAD, 4),
        _step(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, 0),
        # Both the x32 interface and calls that are newer than the table.
        _step(_AT_LEAST, NEWEST + 1, 0, 1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for control in controls:
        for rule in rules(control, pid):
            if (called := number(rule.call, machine)) is not None:
                made += _instructions(rule, called)
    made.append(_step(_RETURN, _ALLOW))
    return b"".join(made)


def _instructions(rule: Rule, called: int) -> list[bytes]:
    refuse = _step(_RETURN, _ERRNO | rule.error)
    if rule.argument is None:
        return [_step(_EQUAL, called, 0, 1), refuse]
    if rule.all_of:
        tests = [_step(_AND, rule.all_of), _step(_EQUAL, rule.all_of, 0, 1)]
    elif rule.any_of:
        tests = [_step(_ANY_BIT, rule.any_of, 0, 1)]
    elif rule.needed:
        tests = [_step(_ANY_BIT, rule.needed, 1, 0)]
    else:
        # A value that is met jumps over the rest of them and over the refusal.
        left = range(len(rule.allowed), 0, -1)
        tests = [
            _step(_EQUAL, value, rest, 0) for value, rest in zip(rule.allowed, left, strict=True)
        ]
    # Another rule may name the same call: what is not refused goes on, with the number again.
    block = [_step(_LOAD, 16 + 8 * rule.argument), *tests, refuse, _step(_LOAD, 0)]
    return [_step(_EQUAL, called, 0, len(block)), *block]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def install(controls: Collection[str]) -> None:
    """Filter the calls of this process from now on, for good.

    `no_new_privs` must be set, and there must be one thread only.

    Raises:
        OSError: the kernel has no seccomp filters.
    """
    machine = os.uname().machine
    content = program(controls, os.getpid(), machine)
    buffer = ctypes.create_string_buffer(content, len(content))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))

    described = Program(len(content) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    set_filter, keep_speculation = 1, 4
    called = number("seccomp", machine)
    if libc.syscall(called, set_filter, keep_speculation, ctypes.byref(described)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")
