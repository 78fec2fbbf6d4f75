"""The supervisor against entries that misbehave; a runner without torch keeps the tests quick."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Limits
from challenge.data.physics import measurements
from challenge.data.physics.measurements import of_blur
from challenge.submissions.inference import supervisor
from challenge.submissions.inference.dialogue import Dialogue
from challenge.submissions.inference.messages import Channel, Header
from challenge.submissions.jail import disk, memory, processes
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.spawn import Jail

RUNNER = Path(__file__).parents[1] / "numpy_runner.py"
SHAPE = (3, 20, 24)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(3):
        y = np.random.default_rng(number).random(SHAPE, dtype=np.float32)
        kernel = np.ones((1, 1), np.float32)
        paths.append(tmp_path / "val" / f"{number:04}.npz")
        paths[-1].parent.mkdir(exist_ok=True)
        measurement = of_blur(f"{number:04}", y, kernel, 0.1, "circular", SHAPE)
        paths[-1].write_bytes(measurements.to_bytes(measurement))
    return paths


class Bench:
    """Judges a method given as source text."""

    def __init__(self, folder: Path, sources: list[Path]) -> None:
        self.folder, self.sources = folder, sources
        self.output = folder / "output"

    def __call__(
        self,
        source: str,
        *,
        seconds: float = 30,
        memory_gb: float = 4,
        level: Level = "process",
        runner: Path = RUNNER,
        **options: Any,
    ) -> supervisor.Inference:
        entry = self.folder / "entry"
        entry.mkdir(exist_ok=True)
        (entry / "method.py").write_text(textwrap.dedent(source))
        limits = Limits(minutes=seconds / 60, threads=1, memory_gb=memory_gb)
        jail = Jail(level, runner)
        return supervisor.infer(entry, self.sources, self.output, limits, jail, **options)


@pytest.fixture
def bench(tmp_path: Path, sources: list[Path]) -> Bench:
    return Bench(tmp_path, sources)


@pytest.mark.parametrize(
    ("module", "name"), [(memory, "together"), (memory, "records"), (disk, "folder_usage")]
)
def test_a_watch_that_fails_is_no_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    real = getattr(module, name)

    def fail(*arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("no such luck")
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, fail)
    source = "import time\ndef forward(y, identity):\n    time.sleep(20)\n    return y"
    with pytest.raises(supervisor.JudgeFault, match="the watch failed: RuntimeError"):
        bench(source)


def test_what_cannot_be_ended_makes_the_entry_a_crash(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = processes.Tree.kill
    monkeypatch.setattr(processes.Tree, "kill", lambda tree: not real(tree))
    found = bench("def forward(y, identity): return y")
    assert (found.outcome, found.cause) == ("crash", "it left processes that could not be ended")


def test_it_reads_and_saves_while_the_entry_computes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def told(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            events.append(name.strip("_"))
            return real(*arguments)

        monkeypatch.setattr(owner, name, call)

    told(supervisor, "_read")
    told(supervisor, "_save")
    told(Dialogue, "ask")
    told(Dialogue, "answer")
    assert bench("def forward(y, identity): return y").outcome == "ok"
    assert events[:-3] == [
        *("read", "ask", "read", "answer"),
        *("ask", "save", "read", "answer"),
        *("ask", "save", "answer", "save"),
    ]
    # The first image, a second time.
    assert events[-3:] == ["read", "ask", "answer"]


def test_the_answer_is_saved_and_timed(bench: Bench) -> None:
    steps: list[supervisor.Step] = []
    found = bench("def forward(y, identity): return 1 - y", progress=steps.append, planned=30)
    assert (found.outcome, found.cause) == ("ok", "")
    assert list(found.seconds) == ["0000", "0001", "0002"]
    assert found.start_up + sum(found.seconds.values()) <= found.total < 30
    assert [step.done for step in steps] == [1, 2, 3]
    # 30 images are planned: start-up once, and ten times the three images.
    pace = (found.total - found.start_up) / 3
    assert steps[-1].projected == pytest.approx(found.start_up + 30 * pace, rel=0.2)
    assert found.memory > 10e6
    for source in bench.sources:
        measurement = measurements.read(source)
        saved = np.load(bench.output / f"{source.stem}.npy", allow_pickle=False)
        np.testing.assert_array_equal(saved, 1 - measurement.y)


def test_a_standard_deviation_is_saved_beside_the_answer(bench: Bench) -> None:
    found = bench("def with_deviation(y, identity): return y, y / 4")
    assert (found.outcome, found.cause) == ("ok", "")
    for source in bench.sources:
        y = measurements.read(source).y
        for name, wanted in (("", y), ("deviation", y / 4)):
            saved = np.load(bench.output / name / f"{source.stem}.npy", allow_pickle=False)
            np.testing.assert_array_equal(saved, wanted)


@pytest.mark.parametrize(
    ("made", "outcome", "said"),
    [
        ("-y", "non_finite", "100.0% of the standard deviation is negative"),
        ("y + float('nan')", "non_finite", "100.0% of the standard deviation is NaN or infinite"),
        ("y[:, :4]", "bad_shape", "the standard deviation has shape [1, 3, 4, "),
        ("y.astype('float64')", "bad_shape", "the standard deviation is float64"),
        ("'sigma'", "bad_shape", "the standard deviation is a str, not a tensor"),
        ("np.repeat(y, 9, 0)", "bad_shape", "the standard deviation has shape"),
        ("y + 1e-3 * calls", "nondeterministic", "the standard deviation differs by 0.003"),
        ("y) if calls < 3 else (y", "nondeterministic", "a standard deviation came once only"),
    ],
)
def test_a_standard_deviation_is_looked_at_as_the_answer_is(
    bench: Bench, made: str, outcome: str, said: str
) -> None:
    found = bench(
        "import numpy as np\ncalls = -1\ndef with_deviation(y, identity):\n"
        f"    global calls; calls += 1\n    return (y, {made})"
    )
    assert found.outcome == outcome, found
    assert said in found.cause


def test_a_measurement_is_handed_over_byte_for_byte(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    send = Channel.send

    def record(channel: Channel, header: Header, payload: bytes = b"") -> None:
        sent.append(payload)
        send(channel, header, payload)

    monkeypatch.setattr(Channel, "send", record)
    first = bench.sources[0]
    with np.load(first) as fields:
        np.savez_compressed(first, **fields)  # a valid file with other bytes
    stored = [source.read_bytes() for source in bench.sources]
    assert stored[0] != measurements.to_bytes(measurements.read(first))
    assert bench("def forward(y, identity): return y").outcome == "ok"
    assert sent == [*stored, stored[0]]


@pytest.mark.parametrize(
    ("source", "outcome", "said"),
    [
        ("import nothing_of_this_name", "import_error", "nothing_of_this_name"),
        ("def forward(y, identity) return y", "import_error", "SyntaxError"),
        ("raise SystemExit(0)", "import_error", "SystemExit"),
        ("import os; os._exit(0)", "import_error", "exit code 0"),
        ("import os; os.abort()", "import_error", "SIGABRT"),
        ("def forward(y, identity): 1 / 0", "crash", "ZeroDivisionError"),
        ("def forward(y, identity): raise SystemExit(0)", "crash", "SystemExit"),
        ("import os\ndef forward(y, identity): os._exit(0)", "missing_output", "exit code 0"),
        ("import os\ndef forward(y, identity): os._exit(3)", "crash", "exit code 3"),
        ("import os\ndef forward(y, identity): os.kill(os.getpid(), 11)", "crash", "SIGSEGV"),
        ("def forward(y, identity): return y.astype('float64')", "bad_shape", "float64"),
        ("def forward(y, identity): return y.astype('float16')", "bad_shape", "float16"),
        ("def forward(y, identity): return y[:1]", "bad_shape", "[1, 1, 20, 24]"),
        ("def forward(y, identity): return y, y", "bad_shape", "tuple"),
        ("def forward(y, identity): return None", "bad_shape", "NoneType"),
        ("def forward(y, identity): return y * float('nan')", "non_finite", "100.0%"),
        ("def forward(y, identity): return y / (y > y.min())", "non_finite", "0.1%"),
        (
            "import os\ndef forward(y, identity): os.closerange(0, 100)\n",
            "missing_output|crash",
            "",
        ),
    ],
)
def test_every_failure_has_its_outcome(bench: Bench, source: str, outcome: str, said: str) -> None:
    found = bench(source)
    assert found.outcome in outcome.split("|"), found
    assert said in found.cause, found
    assert "\n" not in found.cause
    assert found.seconds == {}


def test_the_traceback_is_in_the_log(bench: Bench) -> None:
    found = bench("def forward(y, identity):\n    raise ValueError('left \\x1b[31m or right')\n")
    assert 'method.py", line 2, in forward' in found.log
    assert "\x1b" not in found.log + found.cause
    assert "\\x1b[31m" in found.log


def test_an_error_of_several_lines_reads_as_one_sentence(bench: Bench) -> None:
    found = bench("def forward(y, identity):\n    raise ValueError('sizes differ:\\n\\t3 and 4')\n")
    assert "ValueError: sizes differ: 3 and 4" in found.cause


def test_input_is_empty_and_output_goes_to_the_log(bench: Bench) -> None:
    found = bench(
        """
        import os, sys
        print("first words")
        assert sys.stdin.read() == ""
        def forward(y, identity):
            os.write(1, b"\\x00\\x00\\x00\\x05hello")
            sys.stdout.write("to stdout\\n"); sys.stderr.write("to stderr\\n")
            return y
        """
    )
    assert found.outcome == "ok", found
    # Three images, and the first one a second time.
    assert found.log.count("to stdout\n") == found.log.count("to stderr\n") == 4
    assert found.log.startswith("first words\n\\x00")


def test_a_long_log_keeps_both_ends(bench: Bench) -> None:
    found = bench(
        """
        print("begin"); print("x" * 3_000_000); print("end")
        def forward(y, identity): return y
        """
    )
    assert found.outcome == "ok"
    assert found.log.startswith("begin\n")
    assert found.log.endswith("x\nend\n")
    assert "bytes left out" in found.log
    assert len(found.log) < 100_000


def test_sleep_is_killed_on_time(bench: Bench) -> None:
    source = """
        import time
        def forward(y, identity):
            if identity == "0001": time.sleep(60)
            return y
        """
    began = time.monotonic()
    found = bench(source, seconds=2)
    assert found.outcome == "timeout"
    assert "`0001`, 2 of 3" in found.cause
    assert list(found.seconds) == ["0000"]
    assert 2 <= found.total < 2.5
    assert time.monotonic() - began < 4


def test_sleep_at_import_is_killed_on_time(bench: Bench) -> None:
    found = bench("import time; time.sleep(60)", seconds=1)
    assert found.outcome == "timeout"
    assert "while the method was loaded" in found.cause
    assert 1 <= found.total < 1.5


def test_a_process_that_does_not_read_blocks_nobody(bench: Bench) -> None:
    # The measurement is larger than a pipe holds, so that a blocking write would never return.
    large = np.zeros((3, 400, 400), np.float32)
    m = of_blur("0000", large, np.ones((1, 1), np.float32), 0.1, "circular", large.shape)
    bench.sources[0].write_bytes(measurements.to_bytes(m))
    found = bench(
        "import os, signal\ndef stop(): os.kill(os.getpid(), signal.SIGSTOP)\n"
        "import threading; threading.Timer(0.0, stop).start()\n"
        "import time; time.sleep(0.5)\ndef forward(y, identity): return y",
        seconds=2,
    )
    assert found.outcome == "timeout"
    assert found.total < 2.5


def test_memory_is_limited(bench: Bench) -> None:
    source = """
        import numpy as np, time
        def forward(y, identity):
            hoard = np.ones(60_000_000)
            time.sleep(30)
            return y
        """
    found = bench(source, memory_gb=0.3)
    assert found.outcome == "out_of_memory", found
    assert found.total < 15
    assert found.memory > 0.3e9


def test_memory_of_children_counts(bench: Bench) -> None:
    source = """
        import multiprocessing, numpy as np, time
        def hoard():
            x = np.ones(20_000_000); time.sleep(30)
        def forward(y, identity):
            context = multiprocessing.get_context("fork")
            for _ in range(3): context.Process(target=hoard).start()
            time.sleep(30)
            return y
        """
    assert bench(source, memory_gb=0.4).outcome == "out_of_memory"


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux only")
@pytest.mark.parametrize("end", ["return y", "os._exit(1)", "time.sleep(60)"])
def test_a_daemon_leaves_nothing_behind(bench: Bench, tmp_path: Path, end: str) -> None:
    note = tmp_path / "pid"
    source = f"""
        import os, time
        def forward(y, identity):
            if os.path.exists({str(note)!r}): return y
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    open({str(note)!r}, "w").write(str(os.getpid()))
                    time.sleep(60)
                os._exit(0)
            while not os.path.exists({str(note)!r}): time.sleep(0.01)
            {end}
        """
    found = bench(source, seconds=3)
    assert found.outcome == {"r": "ok", "o": "crash", "t": "timeout"}[end[0]], found
    assert found.total < 3.5
    assert not psutil.pid_exists(int(note.read_text()))
    assert psutil.Process().children(recursive=True) == []


def test_the_environment_is_scrubbed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    found = bench(
        """
        import os, sys, tempfile
        print(sorted(os.environ)); print("home", os.environ["HOME"], tempfile.gettempdir())
        print(os.getsid(0) == os.getpid(), hash("word"))
        open(os.path.join(os.environ["HOME"], "scratch"), "w").write("x")
        def forward(y, identity): return y
        """
    )
    assert found.outcome == "ok", found
    assert "SECRET" not in found.log
    assert "PYTHONPATH" not in found.log
    home = found.log.split("home ")[1].split()
    assert home[0] == home[1]
    assert not Path(home[0]).exists()
    assert "True" in found.log
    again = bench("print(hash('word'))\ndef forward(y, identity): return y")
    assert again.log.strip() in found.log


@pytest.mark.parametrize(
    ("source", "outcome", "said"),
    [
        ("return y * (1 + 1e-3 * calls)", "nondeterministic", "differs by 0.003"),
        ("return y * (1 + 1e-6 * calls)", "ok", ""),
        ("if calls == 3: 1 / 0\n    return y", "crash", "a second time"),
        ("if calls == 3: os._exit(0)\n    return y", "missing_output", "a second time"),
        ("return y if calls < 3 else y * float('nan')", "non_finite", "a second time"),
    ],
)
def test_the_first_image_a_second_time(bench: Bench, source: str, outcome: str, said: str) -> None:
    counting = (
        "import os\ncalls = -1\ndef forward(y, identity):\n    global calls; calls += 1\n    "
    )
    found = bench(counting + source)
    assert (found.outcome, list(found.seconds)) == (outcome, ["0000", "0001", "0002"]), found
    assert said in found.cause


def test_an_interrupt_leaves_no_process(bench: Bench) -> None:
    def interrupt(_: supervisor.Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench("def forward(y, identity): return y", progress=interrupt)
    assert psutil.Process().children(recursive=True) == []


def test_messages_out_of_turn(bench: Bench) -> None:
    forged = """
        from challenge.submissions.inference import messages
        import gc, io
        out = [o for o in gc.get_objects() if isinstance(o, io.BufferedWriter) and o.name > 2][0]
        def forward(y, identity):
            {}
            return y
        """
    answers = {
        'messages.write(out, {"kind": "estimate", "type": "Tensor"}, b"x" * 10_000_000)': "crash",
        'out.write(b"\\xff" * 100); out.flush()': "crash",
        'out.write(b"\\x00\\x00\\x00\\x03[1]"); out.flush()': "crash",
        'messages.write(out, {"kind": "ready"})': "crash",
        'messages.write(out, {"kind": "failed", "outcome": "ok", "error": "x\\n" * 50})': "crash",
    }
    for answer, outcome in answers.items():
        found = bench(forged.format(answer))
        assert found.outcome == outcome, (answer, found)
        assert "\n" not in found.cause


@pytest.mark.parametrize("text", ["'5'", "'{}'", "''", "'[' * 100_000", "'x' * 2_000_000"])
def test_a_forged_contract_report(bench: Bench, text: str) -> None:
    source = f"""
        import types
        from challenge.submissions.inference import runner
        runner.json = types.SimpleNamespace(dumps=lambda _: {text})
        def forward(y, identity): return y
        """
    found = bench(
        source, contract={"channels": 3, "boundary": "circular", "operator": "blur", "noise": None}
    )
    assert found.outcome == "ok", found
    assert found.broken[0].startswith("crash: it answered out of turn"), found


def test_our_own_fault_is_not_the_teams(bench: Bench, tmp_path: Path) -> None:
    runner = tmp_path / "broken.py"
    runner.write_text("import no_such_module")
    with pytest.raises(supervisor.JudgeFault, match="no_such_module"):
        bench("", runner=runner)


def test_the_contract_is_tested_on_request(bench: Bench) -> None:
    asked = {"channels": 3, "boundary": "circular", "operator": "blur", "noise": None}
    found = bench("def forward(y, identity): return y", contract=asked)
    assert (found.outcome, found.broken) == ("ok", ("shape: no",))


def test_the_supervisor_is_free_of_torch() -> None:
    code = """
        import sys
        from challenge.submissions.entries import check, kit, pack, teams
        from challenge.submissions.inference import supervisor
        from challenge.submissions.judging import board, judge, result_files
        from challenge.submissions.runs import storage
        heavy = {"torch", "deepinv", "skimage", "matplotlib", "scipy"} & set(sys.modules)
        assert not heavy, heavy
        """
    done = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full, of Linux")
@pytest.mark.parametrize("side", [1, 16, 256])
def test_a_full_disk_is_told_and_no_half_file_is_left(tmp_path: Path, side: int) -> None:
    (tmp_path / ".0001.npy.partial").symlink_to("/dev/full")
    with pytest.raises(UserError, match="0001.npy: the disk is full; free some space"):
        supervisor._save(tmp_path / "0001.npy", np.zeros((1, side, side), np.float32))
    assert not list(tmp_path.iterdir())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # full in the middle of a file
    try:
        with pytest.raises(OSError, match="File too large") as broken:
            supervisor._save(tmp_path / "0001.npy", np.zeros((1, side, side), np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert broken.value.errno == errno.EFBIG, "an error that says what is wrong"
    assert not list(tmp_path.iterdir())
    supervisor._save(tmp_path / "0001.npy", np.ones((1, side, side), np.float32))
    assert np.load(tmp_path / "0001.npy").sum() == side**2
