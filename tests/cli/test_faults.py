"""What is neither a user's mistake nor a bug: a team's own code that fails, and the disk."""

from __future__ import annotations

import errno
import textwrap

import pytest

from challenge.cli.main import main

HEAD = "import torch\nfrom challenge.methods import Method\nfrom .blocks import give\n\n"
FAILING = {
    "forward": """
        class Mine(Method):
            def forward(self, y, physics):
                return give(physics.A_adjoint(y))
        """,
    "constructor": """
        class Mine(Method):
            def __init__(self):
                super().__init__()
                give(1)

            def forward(self, y, physics):
                return y
        """,
    "fit": """
        class Mine(Method):
            def forward(self, y, physics):
                return physics.A_adjoint(y)

            def fit(self, problem, images, train, session):
                give(1)
        """,
    "import": """
        give(1)

        class Mine(Method):
            def forward(self, y, physics):
                return y
        """,
}


def write(folder, source, fails="torch.ones(2) @ torch.ones(3)"):
    (folder / "blocks.py").write_text(f"import torch\n\ndef give(x):\n    return {fails}\n")
    (folder / "mine.py").write_text(HEAD + textwrap.dedent(source))
    return ["train", str(folder / "mine.yaml")]


def config(folder):
    (folder / "mine.yaml").write_text("challenge: deblur\nmethod: {name: mine.py}\n")


@pytest.mark.parametrize("where", FAILING)
def test_an_error_in_a_teams_code_shows_its_own_frames(challenge, tmp_path, where):
    config(tmp_path)
    command = write(tmp_path, FAILING[where])
    done = challenge(*command)
    assert done.code == 1
    shown = [line for line in done.err.splitlines() if line.strip().startswith("File")]
    assert shown and all(str(tmp_path) in line or "plugin" in line for line in shown)
    assert "blocks.py" in shown[-1] and "in give" in shown[-1]
    assert "torch.ones(2) @ torch.ones(3)" in done.err
    assert "RuntimeError: inconsistent tensor size" in done.err
    assert f"whole traceback: challenge --traceback {' '.join(command)}" in done.err


@pytest.mark.parametrize("where", ["forward", "fit"])
def test_a_wrong_import_within_a_function_gets_the_same_hint(challenge, tmp_path, where):
    config(tmp_path)
    source = FAILING[where].replace("give(", "__import__('blocks').give(")
    if where == "forward":  # which may fail before it has learned
        source += "\n            def fit(self, *given):\n                self(given, given)\n"
        source = source.replace("physics.A_adjoint(y)", "y")
    done = challenge(*write(tmp_path, source))
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert "imports `blocks` as a package" in line and "`from .blocks import ...`" in line


def test_the_whole_traceback_is_there_when_it_is_asked_for(challenge, tmp_path):
    config(tmp_path)
    command = write(tmp_path, FAILING["constructor"])
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        challenge("--traceback", *command)


def test_it_is_there_for_the_commands_of_the_demo_too(elsewhere, monkeypatch):
    from challenge.cli import demo
    from challenge.configs.errors import UserError

    story = [["board", "--workspace", "nowhere"]]
    monkeypatch.setattr(demo, "_story", lambda *_: story)
    with pytest.raises(UserError, match="has no judged entries"):
        elsewhere("--traceback", "demo", "demo")
    assert elsewhere("demo", "other").code == 2, "the next call does not ask for it"


def test_a_long_recursion_is_cut(challenge, tmp_path):
    config(tmp_path)
    done = challenge(*write(tmp_path, FAILING["constructor"], "give(x)"))
    assert "RecursionError" in done.err
    assert len(done.err.splitlines()) < 50


DISK = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk is full; free some space",
    errno.EACCES: "cannot be written; check its permissions or give another --workspace",
    errno.EROFS: "cannot be written; check its permissions or give another --workspace",
    errno.ENOTDIR: "a file stands where a folder is needed",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
    errno.EMFILE: "too many files are open",
    errno.EIO: "the drive reports an error",
}


@pytest.mark.parametrize("number", DISK)
def test_what_the_disk_says_anywhere_is_one_line(monkeypatch, capsys, number):
    import challenge.cli.main as module

    def fail(**_):
        raise OSError(number, "words", "some/place")

    monkeypatch.setattr(module, "app", fail)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: some/place: {DISK[number]}")


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch):
    import challenge.cli.main as module

    def fail(**_):
        raise FileNotFoundError(errno.ENOENT, "words", "some/place")

    monkeypatch.setattr(module, "app", fail)
    with pytest.raises(FileNotFoundError):
        main()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "tv", "--workspace", "{file}"], "{file}"),
        (["train", "tv", "--workspace", "{long}"], "the name is too long"),
        (["prepare", "deblur", "--workspace", "{file}"], "a file stands where a folder is needed"),
    ],
)
def test_a_place_that_cannot_be_is_one_line(elsewhere, tmp_path, arguments, text):
    words = {"file": str(tmp_path / "taken"), "long": "x" * 300}
    (tmp_path / "taken").write_text("")
    done = elsewhere(*[each.format(**words) for each in arguments])
    assert done.code == 2
    assert text.format(**words) in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_no_temporary_folder_is_one_line(challenge, monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    done = challenge("infer", "workspace/runs/deblur/tv")
    assert done.code == 2
    assert "the temporary folder: cannot be written" in done.err
