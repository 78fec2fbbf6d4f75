"""The typed outcomes of judging: what happened to an entry, in the words of results and board."""

from __future__ import annotations

from typing import Literal

Outcome = Literal[
    # Every image was reconstructed within the limits.
    "ok",
    # The zip is not an entry of this challenge.
    "invalid_entry",
    # The entry is larger than the challenge allows.
    "oversize",
    # Weights in a format that can run code when it is read.
    "unsafe_weights",
    # The method could not be imported, built or given its weights.
    "import_error",
    # The method raised an exception, or its process ended.
    "crash",
    # The time limit came before the last reconstruction.
    "timeout",
    # The process with its children used more memory than allowed.
    "out_of_memory",
    # The process ended by itself without an answer.
    "missing_output",
    # An answer was not a float32 tensor of the image's shape.
    "bad_shape",
    # A reconstruction has NaN or infinite values.
    "non_finite",
    # The same measurement gave two reconstructions.
    "nondeterministic",
]
