"""Source is read by several threads at once, as a cluster's organiser reads its entries."""

import ast
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from challenge.methods import registry, syntax


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Threads that take turns as often as they can, also where garbage is collected."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20, 1_000_000, 1_000_000)

    def give_way(*_: object) -> None:
        for _ in range(10):
            pass

    gc.callbacks.append(give_way)
    yield
    gc.callbacks.remove(give_way)
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("interrupted")
def test_threads_read_source_at_once() -> None:
    source = Path(registry.__file__).read_bytes()
    with ThreadPoolExecutor(4) as threads:
        trees = list(threads.map(lambda _: syntax.parse(source), range(8)))
    assert len({len(tree.body) for tree in trees}) == 1


@pytest.mark.usefixtures("interrupted")
def test_threads_read_headers_of_arrays_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As NumPy does; here a header that is long."""
    monkeypatch.setattr("ast.parse", syntax._parse)
    syntax.guard_threads()
    header = str({f"name {number}": (number, [number]) for number in range(500)})
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: ast.literal_eval(header), range(8)))
    assert [len(each) for each in found] == 8 * [500]


def test_oddities_of_the_code_are_not_told_of() -> None:
    syntax.parse(b'"\\d" is 1')
