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
open files: that is limited, and the watch looks at it."""
_OWN_FILES = 2
"""close_range's CLOSE_RANGE_UNSHARE: a thread gets a table of its own."""
_SHARED_MEMORY = 0x21
"""mmap's MAP_SHARED with MAP_ANONYMOUS: pages that stay when a process says it needs them not."""
_STACK, _HUGE = 0x100, 0x40000
"""mmap's MAP_GROWSDOWN, which is taken for a stack, and MAP_HUGETLB: pages that RLIMIT_DATA, or the
resident size, does not count."""
_IOCTLS = (0x5401, 0x802C542A, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS and TCGETS2 (is it a terminal?), TIOCGPGRP, TIOCGWINSZ; FIONREAD, FIONBIO, FIONCLEX and
FIOCLEX, flags of a descriptor.

Others reserve disk, change attributes of files that are open for reading, or send signals."""
_FCNTLS = (0, 1, 2, 3, 4, 1030, 1032)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ.

Others send signals to the owner of a file, enlarge pipes, and keep locks of ranges in the kernel,
as many as one likes."""
_PRCTLS = (2, 3, 15, 16, 21, 23, 38, 39, 41, 42, 51, 64, 0x53564D41)
"""prctl's GET_PDEATHSIG, GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, CAPBSET_READ,
SET_NO_NEW_PRIVS and GET, SET_THP_DISABLE and GET, SVE_GET_VL, SME_GET_VL, SET_VMA (names of maps).

Others undo the signal at the supervisor's death, hide the process from it, install filters."""
_ADVICE = (0, 1, 2, 3, 4, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 23, 25, 102, 103)
"""madvise's advice about the process's own pages.

Others, MADV_COLD and MADV_PAGEOUT, move out of memory what the system holds for everybody."""


@dataclass(frozen=True)
class Rule:
    """What becomes of one call.

    Without `argument` it is always answered by `error`. With it, only if the low 32 bits of that
    argument are not in `allowed`, have nothing of `needed`, some of `any_of`, or `all_of`. The low
    32 bits are what the kernel itself takes: of ioctl, fcntl and prctl the command, of clone and
    mmap all flags that there are, of kill and the like a process, are 32 bits wide.
    """

    call: str
    error: int = errno.EPERM
    argument: int | None = None
    allowed: tuple[int, ...] = ()
    needed: int = 0
    any_of: int = 0
    all_of: int = 0


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
        Rule("clone", argument=0, needed=_THREAD),
        Rule("clone", argument=0, needed=_SAME_FILES),
        Rule("close_range", errno.EINVAL, argument=2, any_of=_OWN_FILES),
        # glibc makes threads by clone where there is no clone3, whose flags a filter cannot see.
        *_deny("clone3", error=errno.ENOSYS),
        *_deny("fork", "vfork", "execve", "execveat"),
    ),
    "signals": (
        *_deny("tkill", "rt_sigqueueinfo", "pidfd_send_signal", "pidfd_open", "process_mrelease"),
    ),
    # Families of calls under one name: what is not listed is answered as by a kernel without it.
    "commands": (
        Rule("ioctl", errno.ENOTTY, argument=1, allowed=_IOCTLS),
        Rule("fcntl", errno.EINVAL, argument=1, allowed=_FCNTLS),
        Rule("prctl", errno.EINVAL, argument=0, allowed=_PRCTLS),
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
    # What others have read lately, and what they would find of that: notes for the next process.
    "page cache": (
        *_deny("cachestat", "mincore"),
        # With any flag, to read only what is in memory for instance.
        Rule("preadv2", errno.EOPNOTSUPP, argument=5, allowed=(0,)),
        Rule("madvise", errno.EINVAL, argument=2, allowed=_ADVICE),
        # Advice is success without an act.
        *_deny("fadvise64", "readahead", error=0),
    ),
    # Memory and disk that belong to no process, and so to no limit.
    "shared memory": (
        Rule("mmap", errno.ENOMEM, argument=3, all_of=_SHARED_MEMORY),
        Rule("mmap", errno.ENOMEM, argument=3, any_of=_STACK | _HUGE),
        # Another stack that is not counted.
        *_deny("map_shadow_stack", error=errno.EOPNOTSUPP),
        # A pipe keeps the pages that it is given, a huge one for each of its slots, after they were
        # unmapped. Copying by reading and writing is what callers do instead.
        *_deny("vmsplice", "splice", "tee", "sendfile", error=errno.EINVAL),
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
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "seccomp",
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
