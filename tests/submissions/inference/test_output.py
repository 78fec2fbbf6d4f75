"""What a team prints may not act on the terminal it is shown on."""

import io

from hypothesis import given
from hypothesis import strategies as st

from challenge.submissions.inference.output import HEAD, TAIL, Output
from challenge.submissions.text import harmless


@given(st.binary(max_size=200))
def test_nothing_but_line_ends_and_tabs_controls(content: bytes) -> None:
    shown = harmless(content)
    assert all(character.isprintable() or character in "\n\t" or character.isspace()
               for character in shown)  # fmt: skip
    shown.encode()


def test_examples() -> None:
    assert harmless("à\tb\r\nc\n".encode()) == "à\tb\nc\n"
    assert harmless(b"10%\r20%\x1b[31m\x00\xff") == "10%\\r20%\\x1b[31m\\x00\\xff"
    assert harmless("\u202eabc".encode()) == "\\u202eabc"


def test_both_ends_are_kept() -> None:
    content = b"".join(b"%07d\n" % number for number in range(100_000))
    shown = Output(io.BufferedReader(io.BytesIO(content))).close()
    head, _, rest = shown.partition("\n[... ")
    dropped, _, tail = rest.partition(" bytes left out ...]\n")
    assert head.encode() == content[:HEAD]
    assert tail.encode() == content[-TAIL:]
    assert int(dropped) == len(content) - HEAD - TAIL
