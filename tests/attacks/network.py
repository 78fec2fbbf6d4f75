"""Network: no way out, by any family of sockets or any interface of the kernel."""

from __future__ import annotations

import functools

from .attack import ROOT, Arena, Attack, Ran, claimed

NEEDS_ROOT = "" if ROOT else "needs root"


def reached(kind: str):
    """Something arrived at a socket of the organiser."""

    def look(arena: Arena, _: Ran) -> bool:
        listening = arena.sockets[kind]
        try:
            if kind == "udp":
                return bool(listening.recv(100))
            listening.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    return look


_network = functools.partial(Attack, controls=("network",), evidence=claimed)


CONNECT = """
def connect(family, kind, address):
    with socket.socket(family, kind) as made:
        made.settimeout(2)
        made.connect(address)
        made.send(b"x")
"""
# push rbx; mov eax, 359 (socket of i386); mov ebx, 2; mov ecx, 1; xor edx, edx; int 0x80; pop rbx
I386 = (
    r"b'\x53\xb8\x67\x01\x00\x00\xbb\x02\x00\x00\x00\xb9\x01\x00\x00\x00\x31\xd2\xcd\x80\x5b\xc3'"
)

ATTACKS = [
    _network(
        "connect by TCP",
        CONNECT + 'attempt(lambda: connect(2, 1, ("127.0.0.1", F.tcp)))',
        evidence=reached("tcp"),
    ),
    _network(
        "send by UDP without connecting",
        "attempt(lambda: socket.socket(2, 2).sendto(b'x', ('127.0.0.1', F.udp)))",
        evidence=reached("udp"),
    ),
    _network(
        "connect to a UNIX socket",
        CONNECT + "attempt(lambda: connect(1, 1, F.unix))",
        evidence=reached("unix"),
    ),
    _network(
        "connect to an abstract UNIX socket",
        CONNECT + "attempt(lambda: connect(1, 1, '\\0' + F.abstract))",
        evidence=reached("abstract"),
    ),
    _network("ask the kernel by netlink", "attempt(lambda: socket.socket(16, 3, 0).bind((0, 0)))"),
    _network(
        "open a raw socket",
        "attempt(lambda: socket.socket(2, 3, 1))",
        controls=("network", "privileges"),
        unproven=NEEDS_ROOT,
    ),
    _network("make a pair of sockets", "attempt(lambda: socket.socketpair())"),
    _network("resolve a name", "attempt(lambda: socket.getaddrinfo('localhost', 80)[0][4])"),
    _network(
        "set io_uring up",
        "attempt(lambda: call(425, 4, ctypes.create_string_buffer(120)))",
        controls=("io_uring",),
        unproven="the kernel may have it switched off",
    ),
    _network(
        "call by numbers of the x32 interface",
        "attempt(lambda: call(0x40000000 | 41, 2, 1, 0))",
        unproven="most kernels do not have it",
    ),
    _network(
        "call by numbers that the filter has never heard of",
        # 1000: unknown to every kernel, so that the answer is the filter's or the kernel's.
        "attempt(lambda: call(468, -100, b'/', 0, 0, 0)); attempt(lambda: call(0xffffffff))",
        unproven="the kernel may not have it",
    ),
    _network(
        "call by numbers of 32 bits",
        f"attempt(lambda: print('socket', machine_code({I386})()))",
        outcomes={"landlock": "import_error", "bubblewrap": "import_error"},
        unproven="the kernel may not have it",
    ),
]  # fmt: skip
