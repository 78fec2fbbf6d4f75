"""Times of a machine that others use too."""

import time
from collections.abc import Callable


def least(
    action: Callable[[], object],
    clock: Callable[[], float] = time.process_time,
    times: int = 3,
) -> float:
    """The least seconds that an action took: others can only make it slower, never faster."""
    seconds = []
    for _ in range(times):
        began = clock()
        action()
        seconds.append(clock() - began)
    return min(seconds)
