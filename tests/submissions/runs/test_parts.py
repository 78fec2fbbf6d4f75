"""A method whose knob is another method: where that comes from, and that it is taken along."""

from __future__ import annotations

import shutil
import textwrap
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from challenge.configs.errors import UserError
from challenge.configs.loader import load_challenge
from challenge.configs.schema.entry import Uses
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.methods import Method, registry, toy_problem
from challenge.methods.plug_and_play.denoisers import check_colours
from challenge.submissions import layout
from challenge.submissions.entries.check import check, read_manifest
from challenge.submissions.entries.load import load, unpacked
from challenge.submissions.entries.pack import pack, repack
from challenge.submissions.layout import Run
from challenge.submissions.runs import parts, published
from challenge.submissions.runs.facts import PartFacts, read_config, read_facts
from challenge.submissions.runs.parts import Taken
from challenge.submissions.runs.published import Published
from challenge.submissions.runs.train import train

NOISY = """
name: noisy
images: {{source: builtin, size: 64, train: {train}, val: 2, test: 1}}
operator: {{kind: {kind}}}
noise: {{kind: gaussian, sigma: [0, 0.2]}}
"""
INNER = """
import torch
from challenge.methods import Method
from .blocks import shift

class Inner(Method):
    '''x_hat = gain y'''

    def __init__(self, *, gain: float = 1.0, channels: int = 3) -> None:
        super().__init__()
        self.gain, self.channels = torch.nn.Parameter(torch.tensor(gain)), channels

    def forward(self, y, physics):
        return self.gain * physics.A_adjoint(y) + shift

    def fit(self, problem, images, train, session):
        with torch.no_grad():
            self.gain.fill_(0.25)
"""
OUTER = """
from challenge.methods import Method
from challenge.methods.parts import Denoiser
from challenge.methods.plug_and_play.denoisers import denoise

class Outer(Method):
    '''x_hat = D(A^T y, level)'''

    def __init__(self, *, denoiser: Denoiser, level: float = 0.1) -> None:
        super().__init__()
        self.denoiser, self.level = denoiser, level

    def forward(self, y, physics):
        return denoise(self.denoiser, physics.A_adjoint(y), self.level)
"""


@pytest.fixture(scope="module")
def prepared(workspace, tmp_path_factory):
    """A workspace with `tiny`, and two denoising challenges: with its images, and with others."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copytree(workspace.path / "public" / "tiny", folder / "public" / "tiny")
    for name, train_images, kind in (
        ("noisy", 4, "identity"),
        ("others", 5, "identity"),
        ("holes", 4, "{kind: inpainting, mask: {kind: random, keep: 0.5}}"),
    ):
        text = NOISY.format(train=train_images, kind=kind)
        if kind.startswith("{"):
            text = text.replace(f"{{kind: {kind}}}", kind)
        (folder / f"{name}.yaml").write_text(text.replace("name: noisy", f"name: {name}"))
        config, source = load_challenge(str(folder / f"{name}.yaml"))
        prepare(config, source, Workspace(folder), progress=lambda *_: 0, notice=lambda _: None)
    return folder / "public"


@pytest.fixture
def place(prepared, tmp_path):
    (tmp_path / "public").symlink_to(prepared)
    for name, source in (("inner", INNER), ("outer", OUTER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "method.py").write_text(textwrap.dedent(source))
    (tmp_path / "inner" / "blocks.py").write_text("shift = 0.125\n")
    return tmp_path


def inner(place, name="inner", challenge="noisy", **knobs):
    method = {"name": str(place / "inner" / "method.py"), **knobs}
    config = {"challenge": challenge, "name": name, "method": method}
    return train(config, workspace=place).run


def outer(place, denoiser, *overrides, name="outer", **options):
    method = {"name": str(place / "outer" / "method.py"), "denoiser": denoiser}
    config = {"challenge": "tiny", "name": name, "method": method}
    return train(config, overrides, workspace=place, open_entry=unpacked, **options)


def entry_of(place, run, challenge="tiny"):
    target = layout.entry(Workspace(place), "team", read_config(run).name)
    target.parent.mkdir(exist_ok=True)
    pack(run, "team", target, open_challenge(place / "public" / challenge), None)
    return target


def reconstruct(method, place):
    problem = open_challenge(place / "public" / "tiny").problem
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    y, physics = problem.measure(x, [0])
    with torch.no_grad():
        return method(y, physics), 0.25 * physics.A_adjoint(y) + 0.125


GIVEN = {
    "from the workspace": lambda run, entry: "runs/noisy/inner",
    "a path": lambda run, entry: str(run.path),
    "an entry": lambda run, entry: str(entry),
}


@pytest.mark.parametrize("given", GIVEN)
def test_a_run_or_an_entry_becomes_a_part_and_is_taken_along(place, given):
    run = inner(place)
    packed = entry_of(place, run, "noisy")
    done = outer(place, GIVEN[given](run, packed))
    sha = read_facts(done.run).parts["denoiser"].sha256
    assert len(sha) == 64
    # Nothing that it was made of is needed again.
    for gone in (place / "inner", place / "outer", run.path, packed):
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    found, expected = reconstruct(load(done.run.path), place)
    torch.testing.assert_close(found, expected)
    target = entry_of(place, done.run)
    assert check(target, open_challenge(place / "public" / "tiny")) == []
    torch.testing.assert_close(reconstruct(load(target), place)[0], expected)
    facts = read_manifest(target)
    assert facts.parts["denoiser"].sha256 == sha
    assert facts.parts["denoiser"].source.split()[0] in ("run", "entry")
    again = place / "again.zip"
    repack(target, "other", again, open_challenge(place / "public" / "tiny"), None)
    assert read_manifest(again).parts == facts.parts


@pytest.mark.parametrize("word", layout.denoisers())
def test_a_packed_denoiser_is_a_part_by_its_word_and_declared(place, word):
    done = outer(place, word)
    record = read_facts(done.run).parts["denoiser"]
    assert record.source == word.replace("/", " ")
    assert read_config(done.run).uses == Uses(pretrained=True, external_data=True)
    alone = load(layout.denoisers()[word])
    weights = load(done.run.path).denoiser.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in alone.state_dict().items())


@pytest.mark.parametrize("name", ["ensemble", "adapt"])
def test_a_packed_method_is_wrapped_by_its_word_whatever_it_is_made_of(place, name):
    """A baseline that wraps a method itself, one whose steps are denoisers."""
    word, options = "baseline/ensemble", {"open_entry": unpacked}
    config = {"challenge": "tiny", "name": name, "method": {"name": name, "of": word}}
    done = train(config, workspace=place, **options)
    assert read_facts(done.run).parts["of"].source == word.replace("/", " ")
    alone = load(layout.reconstructions()[word])
    weights = load(done.run.path).of.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in alone.state_dict().items())
    roomy = open_challenge(place / "public" / "tiny")
    limits = roomy.config.limits.model_copy(update={"weights_mb": 100})
    roomy.config = roomy.config.model_copy(update={"limits": limits})
    pack(done.run, "team", place / f"team-{name}.zip", roomy, None)
    assert check(place / f"team-{name}.zip", roomy) == []


def test_its_weights_count_once(place):
    done = outer(place, str(inner(place).path))
    assert list(load_file(done.run.weights)) == ["denoiser.gain"]


def test_a_name_or_a_section_needs_no_run(place):
    done = outer(place, "tv", "method.denoiser={name: tv, weight: usual, iterations: 3}")
    assert read_facts(done.run).parts == {}
    assert read_config(done.run).method["denoiser"]["iterations"] == 3
    found, _ = reconstruct(load(done.run.path), place)
    assert found.isfinite().all()


def test_a_run_continues_with_the_part_that_it_began_with(place):
    run = inner(place)
    outer(place, str(run.path)).run.weights.unlink()
    made = layout.run(Workspace(place), "tiny", "outer")
    facts = made.facts.read_text().replace('"finished"', '"started"')
    made.facts.write_text(facts)
    shutil.rmtree(run.path)
    again = train(str(made.path), workspace=place, resume=True)
    assert again.method.denoiser.gain.item() == 0.25
    # Made anew under another name, of the run's own config.
    other = train(str(made.config), ["name=other", "method.level=0.2"], workspace=place)
    assert read_facts(other.run).parts == read_facts(made).parts
    assert load(other.run.path).denoiser.gain.item() == 0.25


def test_what_it_learned_from_is_declared(place):
    same, others = inner(place), inner(place, "others", "others")
    assert not read_config(outer(place, str(same.path)).run).uses.external_data
    declared = read_config(outer(place, str(others.path), name="second").run).uses
    assert declared.external_data and not declared.pretrained


def test_published_weights_are_declared_with_size_licence_and_hash(place, monkeypatch):
    section = {"name": "dncnn", "width": 4, "depth": 3}
    state = registry.build(section).state_dict()
    given = Published(section, state, "deepinv: small.pth", "MIT", 64 * "a", 1_234_567)
    monkeypatch.setattr(published, "find", lambda word, channels: given)
    run = outer(place, "deepinv/small").run
    assert read_config(run).uses == Uses(pretrained=True, external_data=True)
    facts = read_manifest(entry_of(place, run)).parts["denoiser"]
    assert (facts.licence, facts.size, facts.sha256) == ("MIT", 1_234_567, 64 * "a")
    words = str(read_facts(run).parts["denoiser"])
    assert words == f"dncnn of deepinv: small.pth, 1.2 MB, licence MIT, sha256 {16 * 'a'}"
    found = load(run.path).denoiser.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_weights_that_lie_about_are_not_taken_for_a_part_s(place, monkeypatch):
    """A section without weights, where a folder `parts` happens to be."""
    run = inner(place)
    monkeypatch.chdir(place)
    (place / "parts").mkdir()
    shutil.copyfile(run.weights, place / "parts" / "denoiser.safetensors")
    with pytest.raises(UserError, match="has learned nothing yet"):
        outer(place, {"name": str(place / "inner" / "method.py")})


def test_a_weight_for_any_colours_is_a_part_of_grey_images_too(place, monkeypatch):
    """`channels` of a method that learns one number says nothing."""
    grey = SimpleNamespace(channels=1, config=SimpleNamespace(name="grey"))
    weight = registry.build({"name": "bilevel", "theta": "weight"})
    parts._check_channels(weight, "a run", grey, "`method.denoiser`")
    check_colours(weight, toy_problem(channels=1))
    filters = registry.build({"name": "bilevel", "filters": 4, "size": 3})
    with pytest.raises(UserError, match="is for colour images"):
        parts._check_channels(filters, "a run", grey, "`method.denoiser`")


def test_a_network_for_colours_that_takes_grey_images_is_a_part_of_them_too():
    small = {"name": "unrolled", "steps": 1, "net": {"width": 4, "depth": 1}}
    for section in (small, {"name": "ensemble", "of": small}, {"name": "adapt", "of": small}):
        method = registry.build(section)
        for channels, words in ((1, None), (2, "is for colour images, .* complex"), (3, None)):
            images = SimpleNamespace(channels=channels, config=SimpleNamespace(name="theirs"))
            with pytest.raises(UserError, match=words) if words else nullcontext():
                parts._check_channels(method, "a run", images, "`method.of`")
    of_grey = registry.build({**small, "channels": 1})
    colour = SimpleNamespace(channels=3, config=SimpleNamespace(name="theirs"))
    with pytest.raises(UserError, match="is for grey images"):
        parts._check_channels(of_grey, "a run", colour, "`method.of`")


def wrong(place):
    """Every mistake by its words: what is given, the cause, the remedy."""
    run = inner(place)
    unfinished = inner(place, "unfinished")
    facts = unfinished.facts.read_text().replace('"finished"', '"started"')
    unfinished.facts.write_text(facts)
    grey = inner(place, "grey", channels=1)
    holes = train(
        {"challenge": "holes", "name": "tv", "method": {"name": "tv"}}, workspace=place
    ).run
    assert holes.path.is_dir()
    damaged = inner(place, "damaged")
    damaged.weights.write_bytes(run.weights.read_bytes()[:-2])
    train({"challenge": "noisy", "name": "tv", "method": {"name": "tv"}}, workspace=place)
    nested = outer(place, str(run.path), name="nested").run
    return {
        "no such run": ("runs/noisy/iner", "no method, no run", "did you mean `runs/noisy/inner`"),
        "in another folder": ("runs/nosiy/tv", "no run", "did you mean `runs/noisy/tv`?"),
        "no such baseline": (
            "baseline/drunt",
            "no method, no run",
            "did you mean `baseline/drunet`",
        ),
        "a baseline that is none": ("baseline/dncnn", "no method, no run", "`baseline/drunet`"),
        "not made yet": ("runs/noisy/drunet", "no run", "`challenge train drunet challenge=noisy`"),
        "no such name": ("tvv", "no method, no run and no entry `tvv`", "did you mean `tv`"),
        "not finished": (str(unfinished.path), "is not finished", "--resume"),
        "grey": (str(grey.path), "is for grey images", "method.channels=3"),
        "learned nothing": ("drunet", "has learned nothing yet", "challenge train drunet"),
        "section": ({"name": "drunet", "width": 4}, "has learned nothing yet", "give its run"),
        "no section": ({"width": 4}, "has no `name`", "name a method"),
        "no word": (3, "must be a name, a path or a section", "run's folder"),
        "of another operator": ("lpd", "learned nothing|is for the operators", ""),
        "itself with a part": (str(nested.path), "has a `denoiser` itself", "no other method"),
        "a wrong knob": ({"name": "tv", "wieght": 1}, "not a known key", "did you mean"),
        "damaged": (str(damaged.path), "cannot be read", "train it again"),
    }


def test_what_cannot_be_a_part_is_said_in_a_line(place):
    for case, (given, cause, remedy) in wrong(place).items():
        with pytest.raises(UserError, match=cause) as caught:
            outer(place, given, name="wrong")
        lines = str(caught.value).splitlines()
        assert len(lines) == 1 and remedy in lines[0] and "denoiser" in lines[0], (case, lines)
        assert not layout.run(Workspace(place), "tiny", "wrong").path.exists()


def test_weights_of_another_architecture_are_told_by_their_keys(place):
    run = inner(place)
    done = outer(place, str(run.path))
    with pytest.raises(UserError, match="another architecture: it .*`gain`"):
        train(
            str(done.run.path / "config.yaml"),
            ["name=x", "method.denoiser={name: tv}"],
            workspace=place,
        )
    assert Run(done.run.path).part("denoiser").is_file()


def test_a_part_of_which_two_names_share_a_tensor_is_kept(tmp_path):
    class Tied(Method):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones(2))
            self.other = self.one

        def forward(self, y, physics):
            return y

    facts = PartFacts(method="tied", source="run noisy/tied", sha256="0" * 64)
    taken = Taken({"name": "tied"}, Tied(), facts, Uses(), {})
    parts.keep({"denoiser": taken}, Run(tmp_path))
    found = load_file(Run(tmp_path).part("denoiser"))
    assert {name: value.tolist() for name, value in found.items()} == {
        "one": [1, 1],
        "other": [1, 1],
    }
