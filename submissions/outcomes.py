"""The typed outcomes of judging: what happened to an entry, in the words of results and board."""

from __future__ import annotations

from typing import Literal

Outcome = Literal[
    "ok",  # every image was reconstructed within the limits
    "invalid_entry",  # the zip is not an entry of this challenge
    "oversize",  # the entry is larger than the challenge allows
    "unsafe_weights",  # weights in a format that can run code when it is read
    "import_error",  # the method could not be imported, built or given its weights
    "crash",  # the method raised an exception, or its process ended
    "timeout",  # the time limit came before the last reconstruction
    "out_of_memory",  # the process with its children used more memory than allowed
    "missing_output",  # the process ended by itself without an answer
    "bad_shape",  # an answer was not a float32 tensor of the image's shape
    "non_finite",  # a reconstruction has NaN or infinite values
    "nondeterministic",  # the same measurement gave two reconstructions
]

SLOWER = "times as long"
"""In the cause of `nondeterministic`: the second time was too slow, by words that results keep."""
