"""A team's method as `train` takes it: what it gives, what it reads, what it begins with."""

from __future__ import annotations

import textwrap

import pytest
import torch
from safetensors.torch import load_file, save_file

from challenge.configs.errors import UserError
from challenge.submissions import layout
from challenge.submissions.entries.pack import pack
from challenge.submissions.judging import trial
from challenge.submissions.runs.train import train

HEAD = """
import torch
import numpy as np
from pathlib import Path
from safetensors.torch import load_file
from challenge.methods import Method, supervised

"""
TRAIN = {"steps": 2, "evaluate": 1, "patch": 32, "batch": 2, "precision": "float32"}


@pytest.fixture
def team(place):
    """Train a method's source in a workspace of the test's own."""
    folder = place / "team"
    folder.mkdir()

    def call(source, *overrides, knobs=None, learns=False, **options):
        (folder / "method.py").write_text(HEAD + textwrap.dedent(source))
        config = {
            "challenge": "tiny",
            "name": "mine",
            "method": {"name": str(folder / "method.py"), **(knobs or {})},
            **({"train": TRAIN} if learns else {}),
        }
        return train(config, overrides, workspace=place, **options)

    call.folder, call.place = folder, layout.Workspace(place)
    return call


PLAIN = """
class Mine(Method):
    def forward(self, y, physics):
        x_hat = physics.A_adjoint(y)
        {}
"""
LEARNS = """
class Mine(Method):
    reads = ("steps", "evaluate", "patch", "batch", "precision", "tune")

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, y, physics):
        x_hat = self.gain * physics.A_adjoint(y)
        {}

    def fit(self, problem, images, train, session):
        supervised(self, problem, images, train, session)
"""
WRONG = [
    ("return x_hat.bfloat16()", "returned bfloat16 of shape", "x_hat.float()"),
    ("return x_hat.permute(0, 2, 3, 1)", "of shape", "x_hat.permute(0, 3, 1, 2)"),
    ("return (255 * x_hat).clamp(0, 255).byte()", "returned uint8", "x_hat.float() / 255"),
    ("return x_hat.long()", "returned int64", "images are floats"),
    ("return x_hat + 0j", "returned complex64", "x_hat.real.float()"),
    ("return x_hat.double()", "returned float64", "x_hat.float()"),
    ("return x_hat[0]", "of shape (3,", "`x_hat[None]`"),
    ("return x_hat[..., 2:]", "of shape", "has the shape of `physics.A_adjoint(y)`"),
    ("return x_hat.mean(1, keepdim=True)", "of shape", "`physics.A_adjoint(y)`"),
    ("return x_hat, y", "returned a tuple of 2", "return the images alone"),
    ("return [x_hat]", "returned a list of 1", "return the images alone"),
    ("return {'x': x_hat}", "returned a dict", "return the images alone"),
    ("x_hat", "returned None", "end it with `return x_hat`"),
    ("return x_hat.detach().numpy()", "returned a numpy.ndarray", "torch.from_numpy(x_hat)"),
    ("return x_hat.to('meta')", "on meta", "x_hat.to(y.device)"),
]


@pytest.mark.parametrize(
    "body", [PLAIN, pytest.param(LEARNS, marks=pytest.mark.slow)], ids=["plain", "learns"]
)
@pytest.mark.parametrize(("end", "cause", "remedy"), WRONG)
def test_what_is_no_image_is_one_line_with_the_remedy(team, body, end, cause, remedy):
    with pytest.raises(UserError) as error:
        team(body.format(end), learns=body is LEARNS)
    said = str(error.value)
    assert "\n" not in said
    assert "`Mine.forward`: " in said and "method.py:" in said
    assert cause in said and remedy in said
    assert "wanted is float32 of shape (1, 3, 64, 64) on cpu" in said
    assert not (team.place.path / "runs/tiny/mine").exists()


def test_a_wrong_output_while_it_trains_only_is_said_as_well(team):
    with pytest.raises(UserError, match=r"returned bfloat16 .*wanted is float32 of shape \(2, 3"):
        team(LEARNS.format("return x_hat.bfloat16() if self.training else x_hat"), learns=True)


@pytest.mark.parametrize(
    "end",
    [
        "return x_hat.as_subclass(Own)",
        "return x_hat.to_sparse()",
        "return torch._neg_view(-x_hat)",
        "return torch.nn.Parameter(x_hat)",
    ],
)
def test_what_the_judge_reads_is_no_mistake(team, end):
    """However the values are kept; a class of the team's own is another one once it is reloaded."""
    done = team("class Own(torch.Tensor):\n    pass\n\n" + textwrap.dedent(PLAIN.format(end)))
    assert done.finished


def test_a_method_that_cannot_reconstruct_before_it_learned_is_no_mistake(team):
    source = """
    class Mine(Method):
        def __init__(self):
            super().__init__()
            self.register_buffer("gain", torch.zeros(()))

        def forward(self, y, physics):
            assert self.gain > 0
            return self.gain * physics.A_adjoint(y)

        def fit(self, problem, images, train, session):
            self.gain.fill_(0.5)
    """
    assert team(source).finished


@pytest.mark.parametrize(
    ("init", "fit", "text"),
    [
        ("", "self.register_buffer('new', torch.ones(1))", "changed the names of the weights"),
        ("self.register_buffer('a', torch.ones(1))", "self.a /= 0", "not finite in `a`"),
        ("self.a = torch.ones(1)", "self.a = self.a * 2", r"stored and loaded, such as `self\.a`"),
        ("self.a = 1.0", "self.a = 2.0", "gives another estimate once its weights are stored"),
        ("self.register_buffer('a', torch.rand(1), persistent=False)", "pass", r"another estimate"),
    ],
)
def test_what_would_be_lost_with_the_weights_is_said(team, init, fit, text):
    source = f"""
    class Mine(Method):
        def __init__(self):
            super().__init__()
            {init}

        def forward(self, y, physics):
            return getattr(self, "a", 1.0) * physics.A_adjoint(y)

        def fit(self, problem, images, train, session):
            {fit}
    """
    with pytest.raises(UserError, match=text):
        team(source)
    assert not (team.place.path / "runs/tiny/mine").exists()


@pytest.mark.parametrize(
    ("init", "end", "text"),
    [
        ("self.nets = [torch.nn.Linear(1, 1)]", "return x", "has no parameter to train"),
        ("self.a = torch.nn.Parameter(torch.ones(()))", "return x.detach()", "does not depend on"),
    ],
)
def test_a_method_that_nothing_trains_is_said(team, init, end, text):
    source = f"""
    class Mine(Method):
        reads = ("steps", "evaluate", "patch", "batch", "precision", "tune")

        def __init__(self):
            super().__init__()
            {init}

        def forward(self, y, physics):
            x = physics.A_adjoint(y)
            {end}

        def fit(self, problem, images, train, session):
            supervised(self, problem, images, train, session)
    """
    with pytest.raises(UserError, match=text):
        team(source, learns=True)


# --- weights made elsewhere ----------------------------------------------------------------------

STARTS = """
class Mine(Method):
    reads = ("steps", "evaluate", "patch", "batch", "precision", "tune")

    def __init__(self, *, start: str | None = None):
        super().__init__()
        self.start = start
        self.net = torch.nn.Conv2d(3, 3, 1)

    def forward(self, y, physics):
        return self.net(physics.A_adjoint(y))

    def fit(self, problem, images, train, session):
        if self.start:
            session.load_weights(self.net, self.start)
        if train.steps is not None:
            supervised(self, problem, images, train, session)
"""


@pytest.fixture
def start(team):
    net = torch.nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        net.weight.copy_(torch.eye(3)[..., None, None] * 0.875)
        net.bias.fill_(0.0625)
    save_file(net.state_dict(), team.folder / "start.safetensors")
    return net


@pytest.mark.slow
def test_a_method_begins_with_weights_of_its_own_and_its_entry_holds_to_the_contract(
    team, start, challenge
):
    knobs = {"start": "start.safetensors"}
    done = team(STARTS, "uses.pretrained=true", knobs=knobs)
    kept = load_file(done.run.weights)
    assert torch.equal(kept["net.weight"].float(), start.weight)
    # The run needs the team's folder no more, the entry neither.
    (team.folder / "start.safetensors").unlink()
    entry = layout.entry(team.place, "alpha", "mine")
    pack(done.run, "alpha", entry, challenge, None)
    found = trial.try_entry(entry, challenge)
    assert (found.inference.outcome, found.inference.broken) == ("ok", ())
    again = train(done.run.path, ["train.steps=null"], workspace=team.place.path, force=True)
    assert again.finished


def test_weights_are_where_the_training_begins(team, start):
    """At step 0 the estimate is that of the weights that were loaded."""
    from challenge.submissions.runs import log

    psnr = {}
    for name, knobs in (("with", {"start": "start.safetensors"}), ("without", None)):
        done = team(STARTS, "uses.pretrained=true", f"name={name}", knobs=knobs, learns=True)
        psnr[name] = log.read(done.run)[0]["psnr"]
    assert psnr["with"] > psnr["without"] + 3


@pytest.mark.parametrize(
    ("knob", "overrides", "text"),
    [
        ("start.safetensors", [], "say so in the config, `uses: {pretrained: true}`"),
        ("absent.safetensors", ["uses.pretrained=true"], "there is no file"),
        ("start.pth", ["uses.pretrained=true"], "is no safetensors file"),
        ("other.safetensors", ["uses.pretrained=true"], "lacks `bias`; it has in another shape"),
    ],
)
def test_weights_that_cannot_be_loaded_are_one_line(team, start, knob, overrides, text):
    torch.save(start.state_dict(), team.folder / "start.pth")
    save_file({"weight": torch.zeros(4, 3, 1, 1)}, team.folder / "other.safetensors")
    with pytest.raises(UserError, match=text):
        team(STARTS, *overrides, knobs={"start": knob})
    assert not (team.place.path / "runs/tiny/mine").exists()


def test_weights_may_be_taken_partly(team, start):
    save_file({"weight": start.weight, "more": start.bias}, team.folder / "more.safetensors")
    source = STARTS.replace("self.start)", "self.start, partly=True)")
    done = team(source, "uses.pretrained=true", knobs={"start": "more.safetensors"})
    assert torch.equal(load_file(done.run.weights)["net.weight"].float(), start.weight)


def test_a_challenge_may_forbid_them(team, start, monkeypatch):
    from challenge.submissions.runs import train as module

    opened = module.open_challenge

    def forbidding(path):
        found = opened(path)
        rules = found.config.rules.model_copy(update={"pretrained": "forbidden"})
        object.__setattr__(found.config, "rules", rules)
        return found

    monkeypatch.setattr(module, "open_challenge", forbidding)
    with pytest.raises(UserError, match="`tiny` forbids weights that were made elsewhere"):
        team(STARTS, "uses.pretrained=true", knobs={"start": "start.safetensors"})


READS = [
    "self.net.load_state_dict(load_file(HERE / 'start.safetensors'))",
    "self.net.load_state_dict(torch.load(HERE / 'start.pth', weights_only=True))",
    "self.scale = np.load(str(HERE / 'scale.npy'))",
    "self.scale = float((HERE / 'scale.txt').read_text())",
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')",
]


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("where", ["constructor", "import"])
def test_what_reads_a_file_before_fit_is_refused(team, start, reads, where):
    import numpy as np

    torch.save(start.state_dict(), team.folder / "start.pth")
    np.save(team.folder / "scale.npy", np.ones(1))
    (team.folder / "scale.txt").write_text("1.0")
    if where == "import":
        reads = reads.replace("self.net", "torch.nn.Conv2d(3, 3, 1)").replace("self.", "")
    inside, outside = (reads, "") if where == "constructor" else ("pass", reads)
    source = f"""
HERE = Path({str(team.folder)!r})
{outside}

class Mine(Method):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Conv2d(3, 3, 1)
        {inside}

    def forward(self, y, physics):
        return self.net(physics.A_adjoint(y))
"""
    with pytest.raises(UserError, match=r"while it is imported or built.*session\.load_weights"):
        team(source)
    assert not (team.place.path / "runs/tiny/mine").exists()


def test_what_python_reads_by_itself_is_no_reading(team, monkeypatch):
    monkeypatch.chdir(team.folder)
    (team.folder / ".cache").mkdir()
    (team.folder / ".cache" / "fonts.json").write_text("{}")
    (team.folder / "blocks.py").write_text(
        "import json, zoneinfo\nopen('.cache/fonts.json').close()\n"
    )
    source = PLAIN.format("return x_hat").replace("class", "from . import blocks\nclass", 1)
    assert team(source).finished
