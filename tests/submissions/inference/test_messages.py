"""The supervisor's end of the pipes lets go at once, whatever was sent."""

import os
import time

from challenge.submissions.inference import messages
from challenge.submissions.inference.messages import Channel


def test_what_was_sent_unasked_does_not_keep_the_channel_from_closing():
    (from_process, to_supervisor), (from_supervisor, to_process) = os.pipe(), os.pipe()
    channel = Channel(os.fdopen(to_process, "wb"), os.fdopen(from_process, "rb"))
    with os.fdopen(to_supervisor, "wb") as process, os.fdopen(from_supervisor, "rb"):
        for number in range(3):
            messages.write(process, {"kind": "unasked", "number": number})
        first = channel.receive(time.monotonic() + 5)
        assert first.header["number"] == 0
        began = time.monotonic()
        channel.close()
    assert time.monotonic() - began < 1
    assert not any(thread.is_alive() for thread in channel._threads)
