"""The watch: nobody holds memory or disk that it does not see, and nobody makes it slow."""

from __future__ import annotations

import functools

from .attack import ALL, EITHER, QUOTA, Attack, claimed

LIMIT = 0.3

HEADLESS = """
import io
import numpy as np
from challenge.submissions.inference import messages
frame = sys._getframe()
while "requests" not in frame.f_locals: frame = frame.f_back
requests, answers = frame.f_locals["requests"], frame.f_locals["answers"]

def headless(work):
    # The first thread ends by exit(2), another one answers: the record is that of the first.
    def serve():
        time.sleep(0.2)
        attempt(work)
        messages.write(answers, {"kind": "ready"})
        while (header := messages.read_header(requests)) is not None:
            y = np.load(io.BytesIO(messages.read_payload(requests, header["bytes"])))["y"]
            described = {"kind": "estimate", "turn": header["turn"], "type": "Tensor"}
            described |= {"dtype": "float32", "shape": [1, *y.shape]}
            messages.write(answers, described, y.tobytes())
    threading.Thread(target=serve).start()
    libc.syscall(60, 0)
"""

HOLD = """
def hold():
    hoard = [bytearray(40_000_000) for _ in range(12)]
    time.sleep(1.5)
    return sum(map(len, hoard))
"""

MAPPED = f"""
def mapped():
    libc.mmap.restype = ctypes.c_void_p
    for number in range(4):
        place = os.open(str(number), os.O_RDWR | os.O_CREAT)
        os.write(place, bytes({QUOTA // 2}))
        kept.append(libc.mmap(None, ctypes.c_size_t({QUOTA // 2}), 3, 1, place, ctypes.c_long(0)))
        os.close(place)
        os.unlink(str(number))
        time.sleep(0.1)
    time.sleep(1.5)
    return len(kept)
"""


_hidden = functools.partial(
    Attack,
    evidence=claimed,
    stopped=ALL,
    outcome="crash|out_of_memory",
    memory_gb=LIMIT,
    levels=ALL,
)


ATTACKS = [
    _hidden("hold memory behind a first thread that has ended", HEADLESS + HOLD + "headless(hold)"),
    _hidden(
        "hold files behind a first thread that has ended", HEADLESS + MAPPED + "headless(mapped)"
    ),
    _hidden(
        "hold memory behind threads that hand over to one another",
        HEADLESS
        + HOLD
        + """
def relay():
    if time.monotonic() < end:
        threading.Thread(target=relay).start()
end = time.monotonic() + 3
for _ in range(3): threading.Thread(target=relay).start()
headless(hold)
""",
        levels=EITHER,
    ),
    _hidden(
        "hold memory in a child whose first thread has ended",
        HEADLESS
        + HOLD
        + """
def child():
    if os.fork() == 0:
        threading.Thread(target=hold).start()
        libc.syscall(60, 0)
    time.sleep(1.5)
attempt(child)
""",
        outcomes={"landlock": "ok", "bubblewrap": "ok"},
    ),
]
