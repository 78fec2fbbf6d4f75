"""Which system calls a jailed process may not make.

    control -> the calls it takes away, and what they answer instead

The rules name what is forbidden, not what is allowed: torch, its threads and its libraries use
many calls, and which ones changes with their versions. What may be read and written is decided
by Landlock or by the mount namespace; these rules remove what those do not cover.

Free of everything but the standard library.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

_THREAD, _SAME_FILES = 0x00010000, 0x00000400
"""CLONE_THREAD, what is made is a thread of the same process, and CLONE_FILES, with its table of
open files: the watch looks at that of the process."""
_SHARED_MEMORY = 0x21
"""mmap's MAP_SHARED with MAP_ANONYMOUS: pages that stay when a process says it needs them not."""
_OWNERS, _OWNER_IOCTLS = (8, 10, 15, 1024, 1026), (0x8901, 0x8902)
"""fcntl's F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY, and the first as ioctl: signals by
way of a file, and leases on files that others want."""
_ATTRIBUTE_IOCTLS = (0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40806685, 0x800C6613)
"""FS_IOC_SETFLAGS, its 32-bit form, FSSETXATTR, SETVERSION, ENABLE_VERITY, SET_ENCRYPTION_POLICY:
they need a file that is open for reading only."""
_PARENT_DEATH, _DUMPABLE, _SCHED_CORE = 1, 4, 62
"""prctl's PR_SET_PDEATHSIG, whether the process dies with the supervisor; PR_SET_DUMPABLE, whether
the supervisor may look at it; PR_SCHED_CORE, who may run beside it."""


@dataclass(frozen=True)
class Rule:
    """What becomes of one call.

    Without `argument` it is always answered by `error`. With it, only if the low 32 bits of that
    argument are not in `allowed`, are in `refused`, have none of `bits`, or all of `together`.
    """

    call: str
    error: int = errno.EPERM
    argument: int | None = None
    allowed: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    bits: int = 0
    together: int = 0


def _deny(*calls: str, error: int = errno.EPERM) -> tuple[Rule, ...]:
    return tuple(Rule(call, error) for call in calls)


def rules(control: str, pid: int) -> tuple[Rule, ...]:
    """The rules of one control for the process `pid`."""
    return _RULES[control] + tuple(
        Rule(call, argument=0, allowed=(pid,) if own else (0, pid))
        for call, own in _OWN_ONLY.get(control, ())
    )


_RULES: dict[str, tuple[Rule, ...]] = {
    "network": _deny(
        "socket",
        "socketpair",
        "connect",
        "bind",
        "listen",
        "accept",
        "accept4",
        error=errno.EACCES,
    ),
    "processes": (
        Rule("clone", argument=0, bits=_THREAD),
        Rule("clone", argument=0, bits=_SAME_FILES),
        # glibc makes threads by clone where there is no clone3, whose flags a filter cannot see.
        *_deny("clone3", error=errno.ENOSYS),
        *_deny("fork", "vfork", "execve", "execveat"),
    ),
    "signals": (
        *_deny("tkill", "rt_sigqueueinfo", "pidfd_send_signal", "pidfd_open", "process_mrelease"),
        Rule("fcntl", argument=1, refused=_OWNERS),
        Rule("ioctl", argument=1, refused=_OWNER_IOCTLS),
        Rule("prctl", argument=0, refused=(_PARENT_DEATH, _DUMPABLE, _SCHED_CORE)),
    ),
    "others": _deny(
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "process_madvise",
        "pidfd_getfd",
        "kcmp",
        "perf_event_open",
        "setpriority",
        "ioprio_set",
        "sched_setscheduler",
        "sched_setparam",
        "sched_setattr",
        "migrate_pages",
        "move_pages",
    ),
    "io_uring": (
        *_deny("io_uring_setup", "io_uring_enter", "io_uring_register", error=errno.ENOSYS),
        *_deny("io_setup", error=errno.ENOSYS),
    ),
    "namespaces": _deny(
        "unshare",
        "setns",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "open_tree",
        "open_tree_attr",
        "move_mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        "statmount",
        "listmount",
    ),
    # Landlock decides about contents only; an owner could still change modes and times.
    "attributes": (
        Rule("ioctl", argument=1, refused=_ATTRIBUTE_IOCTLS),
        *_deny(
            "chmod",
            "fchmod",
            "fchmodat",
            "fchmodat2",
            "chown",
            "fchown",
            "lchown",
            "fchownat",
            "utime",
            "utimes",
            "futimesat",
            "utimensat",
            "setxattr",
            "lsetxattr",
            "fsetxattr",
            "setxattrat",
            "removexattr",
            "lremovexattr",
            "fremovexattr",
            "removexattrat",
            "truncate",
            "mknod",
            "mknodat",
            "inotify_init",
            "inotify_init1",
            "fanotify_init",
            "name_to_handle_at",
            "open_by_handle_at",
        ),
    ),
    # Memory and disk that belong to no process, and so to no limit.
    "shared memory": (
        Rule("mmap", errno.ENOMEM, argument=3, together=_SHARED_MEMORY),
        # Gigabytes in a moment, faster than the watch looks.
        *_deny("fallocate", error=errno.EOPNOTSUPP),
        *_deny("memfd_create", "memfd_secret", "shmget", "shmat", "shmctl"),
        *_deny("semget", "semop", "semtimedop", "semctl"),
        *_deny("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink"),
        *_deny("mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"),
    ),
    "kernel": _deny(
        "acct",
        "add_key",
        "adjtimex",
        "bpf",
        "cachestat",
        "clock_adjtime",
        "clock_settime",
        "delete_module",
        "finit_module",
        "init_module",
        "ioperm",
        "iopl",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "modify_ldt",
        "personality",
        "quotactl",
        "quotactl_fd",
        "reboot",
        "request_key",
        "setdomainname",
        "sethostname",
        "settimeofday",
        "swapoff",
        "swapon",
        "sync",
        "syslog",
        "userfaultfd",
        "vhangup",
    ),
    # Success without an act: refused, torch would stay on one thread and say nothing.
    "affinity": _deny("sched_setaffinity", error=0),
}

_OWN_ONLY: dict[str, tuple[tuple[str, bool], ...]] = {
    "signals": (("kill", True), ("tgkill", True), ("rt_tgsigqueueinfo", True)),
    "others": (("prlimit64", False),),
}
"""Calls that name a process, and whether it must be named by its number (True) or may be 0."""

CONTROLS = tuple(_RULES)
"""The names of the controls that a filter enforces."""
