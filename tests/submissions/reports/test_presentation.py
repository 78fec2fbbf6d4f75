"""What a report measures: gains with closed forms, counted layers, code that stays shut."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from challenge.configs.errors import UserError
from challenge.configs.schema.challenge import Limits
from challenge.data.physics import families
from challenge.methods.contract import Method
from challenge.methods.contract_test import toy_images, toy_problem
from challenge.methods.plug_and_play.safeguard import Diverges
from challenge.methods.plug_and_play.wavelet import WaveletThresholding
from challenge.methods.solvers.solution import NotConverged
from challenge.submissions import layout
from challenge.submissions.entries import check
from challenge.submissions.entries.pack import pack
from challenge.submissions.reports import candidates, scenes
from challenge.submissions.reports import convergence as analysis
from challenge.submissions.reports.candidates import Candidate
from challenge.submissions.reports.comparison import Compared
from challenge.submissions.reports.comparison_rows import Row
from challenge.submissions.reports.presentation import (
    architecture,
    convergence,
    diagram,
    items,
    layers,
    pictures,
    problem,
    reproduction,
    subjects,
    training,
)
from challenge.submissions.reports.presentation.items import Numbers, Pictures, drawings
from challenge.submissions.reports.presentation.subjects import Subject
from challenge.submissions.scoring.scores import Score, Scores

SPY = """
from challenge.methods.contract import Method
from pathlib import Path
Path({place!r}).touch()
from .blocks import shift

class Mine(Method):
    '''x_hat = A^T y'''

    def forward(self, y, physics):
        return physics.A_adjoint(y) + shift
"""


class Convolved(Method):
    """x_hat = W (A^T y), twice through the same first layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 5, padding=2)

    def forward(self, y, physics):
        return self.second(self.first(self.first(physics.A_adjoint(y))))


class Raises(Convolved):
    """A denoiser that ends with an error, at once or when a derivative is asked for."""

    operators = ("identity",)

    def __init__(self, error, *, derivative=False):
        super().__init__()
        self.error, self.derivative = error, derivative

    def forward(self, y, physics):
        if y.requires_grad or not self.derivative:
            raise self.error
        return super().forward(y, physics)

    def denoise(self, x, sigma):
        raise self.error


ERRORS = [
    Diverges.of("pnp", "diverged here", "-"),
    NotConverged.of("tv", "diverged here", "-"),
    UserError.of("tv", "diverged here", "-"),
    RuntimeError("diverged here"),
    ValueError("diverged here"),
]


def opened(name, method):
    return Subject(Candidate(name, Path(name), "tiny"), method=method)


def titled(section, kind):
    return [item.title for item in section.items if isinstance(item, kind)]


def sentences(section):
    return {each.title: each.lines[0] for each in section.items if getattr(each, "absent", False)}


def test_one_method_that_raises_is_a_sentence_and_the_others_are_shown(challenge, monkeypatch):
    names = [type(error).__name__ for error in ERRORS]
    bad = [opened(name, Raises(error)) for name, error in zip(names, ERRORS, strict=True)]
    made = architecture.section([*bad, opened("good", Convolved())], challenge)
    assert titled(made, Numbers) == ["good: size and sight"]
    said = sentences(made)
    assert [*said] == [f"{name}: size and sight" for name in names]
    assert all("diverged here" in line for line in said.values())

    analyse = analysis.analyse

    def quick(method, name, challenge, settings):
        return analyse(method, name, challenge, replace(settings, size=16, iterations=2))

    monkeypatch.setattr(analysis, "analyse", quick)
    fine = WaveletThresholding(levels=1)
    made = convergence.section([*bad, opened("good", fine)], challenge)
    said = sentences(made)
    assert [*said] == names
    assert all("diverged here" in line for line in said.values())
    assert {each.title.partition(":")[0] for each in made.items} == {*names, "good"}


class Speechless(Exception):
    """An exception that fails to describe itself."""

    def __str__(self):
        raise ValueError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError.of("tv", "diverged " * 1000, "-"), "Not analysed: diverged diverged"),
        (RuntimeError("one\ntwo\r\n" * 10_000), "Not analysed: RuntimeError: one two one"),
        (ValueError("\u202e\x1b[31m"), "Not analysed: ValueError: \\u202e\\x1b[31m."),
        (Speechless(), "Not analysed: Speechless."),
    ],
    ids=("long", "lines", "marks", "speechless"),
)
def test_what_an_exception_says_is_one_short_line(error, said):
    (line,) = items.failed("Not analysed", error, title="tv").lines
    assert line.startswith(said)
    assert line.isprintable()
    assert len(line) < 350


@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
def test_layers_are_counted_where_no_derivative_can_be_taken(challenge, error):
    found = layers.dissect(Raises(error, derivative=True), challenge)
    assert found.influence is None and found.reach is None
    assert found.macs == 2 * 9 * 9 + 9 * 25


def test_the_gain_of_a_circular_blur_is_that_of_its_kernel(challenge):
    identity = challenge.ids("val")[0]
    gain = problem.gain_of(challenge, identity)
    blank = np.zeros((3, *gain.shape), np.float32)
    drawn = challenge.problem.measure_stored(blank, identity, challenge.problem.key)
    kernel = drawn.parameters["kernel"]
    whole = np.zeros(gain.shape)
    whole[: kernel.shape[0], : kernel.shape[1]] = kernel
    np.testing.assert_allclose(gain, np.abs(np.fft.fft2(whole)), atol=2e-3)
    radius, profile = problem.radial(np.full((8, 8), 0.3))
    np.testing.assert_allclose(profile, 0.3)
    np.testing.assert_allclose(radius, np.arange(5) / 8)


def test_the_share_that_the_operator_lets_pass_is_of_all_frequencies(challenge, monkeypatch):
    """A disc of radius 0.25 in the square of frequencies is pi / 16 of it, half of the radii."""
    f = np.fft.fftfreq(64)
    monkeypatch.setattr(problem, "gain_of", lambda *_: 1.0 * (np.hypot(f[:, None], f) < 0.25))
    (drawn,) = drawings([problem.section(challenge)])
    share = int(re.search(r"on (\d+)% of the frequencies", drawn.alt)[1])
    assert share == pytest.approx(100 * np.pi / 16, abs=1)


def test_layers_are_counted_as_by_hand(challenge):
    torch.manual_seed(0)
    found = layers.dissect(Convolved(), challenge)
    first, second = found.layers
    assert (first.calls, second.calls) == (2, 1)
    assert (first.parameters, second.parameters) == (3 * 3 * 9 + 3, 3 * 3 * 25 + 3)
    assert (first.macs, second.macs) == (2 * 9 * 9, 9 * 25)
    assert found.macs == 2 * 9 * 9 + 9 * 25
    assert (first.settings, second.settings) == ("3 -> 3, 3x3", "3 -> 3, 5x5")
    assert first.output == f"3 x {found.side} x {found.side}"
    assert found.influence is not None and found.reach is not None
    # Two layers of 3 and one of 5 pixels see 9; the blur adds what it has.
    assert 3 <= found.reach <= 9 + 2 * 8


def test_repetitions_are_one_node():
    stages = [part for _ in range(5) for part in (nn.Conv2d(4, 4, 3), nn.ReLU())]
    net = nn.Sequential(nn.Conv2d(1, 4, 3), *stages, nn.Conv2d(4, 1, 3))
    node = diagram.tree(net)
    assert [each.words for each in node.children] == [
        "Conv2d 1 -> 4, 3x3",
        "5 x of",
        "Conv2d 4 -> 1, 3x3",
    ]
    wide = nn.ModuleList([nn.Sequential(nn.Conv2d(k, k, 3), nn.ReLU()) for k in range(1, 40)])
    assert diagram.fitting(diagram.tree(wide)).leaves <= diagram.ROWS
    assert diagram.tree(wide).parameters == sum(9 * k * k + k for k in range(1, 40))


@pytest.mark.parametrize("kind", ["run", "entry"])
def test_no_code_of_an_entry_runs_here(make_run, make_entry, challenge, tmp_path, kind):
    """A run is its owner's; of an entry the weights alone are looked at."""
    place = tmp_path / "it-ran"
    source = SPY.format(place=str(place))
    path = make_run(source).path if kind == "run" else make_entry(source)
    place.unlink(missing_ok=True)
    found = candidates.look_at([path])
    (subject,) = subjects.gather(found, challenge, tmp_path, infer=False)
    assert subject.compared is None and subject.config is not None
    (opened,) = subjects.open_methods([subject], challenge)
    assert place.exists() == (kind == "run")
    assert (opened.method is None) == (kind == "entry")
    if kind == "entry":
        assert "jail only" in opened.unopened


class Val:
    """What of a challenge with one image the counting asks."""

    def __init__(self, operator):
        self.problem = toy_problem(operator=operator)
        self.image = toy_images(1, self.problem.channels)[0].numpy()

    def ids(self, split):
        return ["a"]

    def truth(self, identity):
        return self.image


@pytest.mark.parametrize("operator", sorted(families.FAMILIES))
def test_no_operator_is_counted_and_only_images_have_a_reach(operator):
    """Nor is another one taken than the challenge's, where that sees an image as a whole."""
    val = Val(operator)
    channels = val.problem.channels
    method = Convolved()
    method.first, method.second = nn.Identity(), nn.Conv2d(channels, channels, 3, padding=1)
    found = layers.dissect(method, val)
    assert found.macs == channels * channels * 9
    assert found.influence is not None
    assert (found.reach is None) == (operator in ("ct", "mri"))


@pytest.mark.parametrize("operator", ["ct", "mri", "blur"])
def test_the_operator_is_that_of_the_challenge(monkeypatch, operator):
    """Of an image of 96 pixels a blur's centre is enough; a projector sees all of it."""
    val, taken = Val(operator), []
    val.image = np.tile(val.image, (1, 2, 2))

    def scene_of(challenge, identity, size):
        taken.append(size)
        raise UserError.of("a", "b", "c")

    monkeypatch.setattr(scenes, "scene_of", scene_of)
    monkeypatch.setattr(analysis, "scene_of", scene_of)
    monkeypatch.setattr(analysis.subjects, "check_images", lambda *_: None)
    val.config = SimpleNamespace(name="toy")
    with pytest.raises(UserError):
        layers.dissect(Convolved(), val)
    convergence.section([opened("fine", WaveletThresholding(levels=1))], val)
    assert taken == ([64, 48] if operator == "blur" else [96, 96])


PLAIN = {"method": {"name": "tv", "weight": 0.01}}


def test_an_entry_is_opened_where_it_went_through_the_jail(
    make_run, challenge, tmp_path, monkeypatch
):
    """By the challenge's limits, which may allow more than the default ones."""
    run = make_run(**PLAIN)
    entry = tmp_path / "alpha-mine.zip"
    pack(run, "alpha", entry, challenge, None)
    least = Limits(weights_mb=1e-5)
    monkeypatch.setattr(check, "Limits", lambda: least)
    (subject,) = subjects.gather(candidates.look_at([entry]), challenge, tmp_path, infer=False)
    assert subject.compared is None and subject.config is not None
    built = []
    load_folder = subjects.load_folder
    monkeypatch.setattr(
        subjects, "load_folder", lambda folder: built.append(folder) or load_folder(folder)
    )
    (shut,) = subjects.open_methods([subject], challenge)
    assert shut.method is None and "in the judge's jail" in shut.unopened and not built
    scores = Scores((Score("a", 20.0, 0.5),), None, None)
    compared = Compared(subject.candidate, tmp_path, False, scores, 1, 1, 1, None)
    (open_,) = subjects.open_methods([replace(subject, compared=compared)], challenge)
    assert open_.method is not None and len(built) == 1


def test_the_curves_of_an_entry_are_drawn(make_run, challenge, tmp_path):
    run = make_run(**PLAIN)
    lines = ({"step": 10 * k, "loss": 1 / k, "psnr": 20.0 + k} for k in range(1, 6))
    run.log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    entry = tmp_path / "alpha-mine.zip"
    pack(run, "alpha", entry, challenge, None)
    found = subjects.gather(candidates.look_at([entry]), challenge, tmp_path, infer=False)
    made = training.section(found)
    (drawn,) = drawings([made])
    assert "mine reaches 25.00 dB" in drawn.alt
    assert not any("No curve of" in line for line in sentences(made).values())


def test_commands_name_what_the_reader_has(make_run, challenge, tmp_path):
    """A baseline by name, an entry where it lies in a workspace, one from elsewhere by its name."""
    inside = layout.entry(challenge.workspace, "alpha", "mine")
    outside = tmp_path / "beta-mine.zip"
    pack(make_run(**PLAIN), "alpha", inside, challenge, None)
    outside.write_bytes(inside.read_bytes())
    try:
        found = candidates.look_at([Path("lista"), inside, outside])
        checked, _ = candidates.check_candidates(found, challenge)
        assert checked[0].path.name.startswith("baseline-lista")
        made = reproduction.section([Subject(each) for each in checked], challenge)
    finally:
        inside.unlink()
    lines = made.items[0].text.splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    assert commands == [
        "challenge check workspace/entries/alpha-mine.zip --run",
        "challenge check beta-mine.zip --run",
        "challenge report lista workspace/entries/alpha-mine.zip beta-mine.zip",
    ]


def test_no_method_is_run_where_nothing_is_analysed(challenge, make_run, monkeypatch):
    run = make_run(**PLAIN)
    monkeypatch.setattr(layers, "dissect", None)
    monkeypatch.setattr(analysis, "analyse", None)
    subject = replace(opened("mine", Convolved()), candidate=Candidate("mine", run.path, "tiny"))
    made = architecture.section([subject], challenge, analyse=False)
    assert sentences(made) == {"mine: size and sight": "Not taken apart: no method was run."}
    fine = opened("fine", WaveletThresholding(levels=1))
    assert [*sentences(convergence.section([fine], challenge, analyse=False))] == ["fine"]


@pytest.mark.slow
def test_pictures_of_five_methods_fit_into_a_page(challenge, monkeypatch):
    """Even of noise, which nothing makes smaller: 15 MB are allowed to all of a page."""
    side, rng = 256, np.random.default_rng(0)
    names = [f"method-{number}" for number in range(5)]

    def row_of(identity, reason, compared, _):
        images = rng.random((7, 3, side, side), dtype=np.float32)
        return Row(
            title=f"{identity}  {reason}",
            y=images[0],
            portrait=None,
            truth=images[1],
            estimates=tuple(images[2:]),
            captions=tuple((name, "20.00 dB") for name in ("measured", *names, "truth")),
            region=(0, 0, 8, 8),
            errors=tuple(images[2:, 0]),
            means=(0.1,) * 5,
            crop=4,
            scale=1.0,
        )

    monkeypatch.setattr(pictures, "row_of", row_of)
    scores = Scores((Score("a", 20.0, 0.5),), None, None)
    compared = [
        Compared(Candidate(name, Path(name), "tiny"), Path(), True, scores, 1, 1, 1, None)
        for name in names
    ]
    chosen = [(f"image-{number}", "") for number in range(4)]
    items = [*pictures.pictures(compared, challenge, chosen)]
    shown = [each for item in items if isinstance(item, Pictures) for each in item.shown]
    assert len(shown) == 4 * (7 + 5)
    assert sum(len(each.photo.uri) for each in shown) < 14_500_000
    assert len({each.identity for each in shown if each.identity}) == 4 * 7
    assert "with some loss" not in items[0].note
