"""What two baselines tell of a test set, and when they tell nothing."""

import pytest

from challenge.configs.loader import load_challenge
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.submissions.entries.rules_sheet import sheet
from challenge.submissions.judging import foresee
from challenge.submissions.scoring import foreseen, ranking, references

SMALL = ["images.train=4", "images.val=1", "images.size=32", "images.test=13"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    place = Workspace(tmp_path_factory.mktemp("workspace"))
    config, source = load_challenge("gaussian_deblur", SMALL)
    return prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)


def told(prepared, **changes):
    opened = open_challenge(prepared.public.path)
    for name, value in changes.items():
        setattr(opened, name, value)
    reached = foresee.measure(opened, prepared.hidden, lambda *_: None)
    return foresee.foresee(opened, reached)


def test_the_resolution_is_that_of_the_baselines_differences(prepared):
    found = told(prepared)
    assert (found.methods, found.images) == (("wiener", "tv"), 13)
    assert 0.01 < found.spread < 5
    assert found.resolution == pytest.approx(ranking.resolution(found.spread, 13))
    assert told(prepared) == found
    assert foreseen.read(prepared.public) is None
    foreseen.write(prepared.public, found)
    assert foreseen.read(prepared.public) == found
    opened = open_challenge(prepared.public.path, verify=True)
    text = " ".join(sheet(opened.config, opened).split())
    assert f"about {found.resolution:.2g} dB" in text
    assert "show large differences only" in text


def test_it_tells_nothing_where_it_cannot(prepared, monkeypatch):
    monkeypatch.setattr(foresee, "SECONDS", -1.0)
    assert told(prepared) is None, "one image has no spread"
    monkeypatch.undo()
    monkeypatch.setattr(foresee, "_takes", lambda name, challenge: name != "tv")
    assert told(prepared) is None
    monkeypatch.undo()
    monkeypatch.setattr(foresee.registry, "build", None)
    shapes = open_challenge(prepared.public.path).test
    few = shapes.model_copy(update={"shapes": (shapes.shapes[0].model_copy(update={"count": 11}),)})
    assert told(prepared, test=few) is None


@pytest.mark.parametrize("damage", ["", "{}", "nonsense", '{"format": 2}'])
def test_a_damaged_file_is_none(prepared, damage):
    prepared.public.resolution.write_text(damage)
    assert foreseen.read(prepared.public) is None
    prepared.hidden.references.write_text(damage)
    assert references.read(prepared.hidden) == references.References()


def test_the_references_are_what_everybody_reaches(prepared, monkeypatch):
    opened = open_challenge(prepared.public.path)
    found = foresee.measure(opened, prepared.hidden, lambda *_: None)
    ids = prepared.hidden.ids()
    assert {name: sorted(scores) for name, scores in found.psnr.items()} == {
        "measured": ids, "wiener": ids, "tv": ids,
    }  # fmt: skip
    assert found.mean("measured", ids) < found.mean("tv", ids)
    assert found.mean("tv", ids[:1]) == found.psnr["tv"][ids[0]]
    references.write(prepared.hidden, found)
    assert references.read(prepared.hidden) == found
    assert not [*prepared.public.path.rglob("references*")], "it tells of the hidden images"
    monkeypatch.setattr(foresee, "SECONDS", -1.0)
    some = foresee.measure(opened, prepared.hidden, lambda *_: None)
    assert some.mean("tv", ids) is None, "a mean over some images is none over all"
    assert some.mean("bm3d", ids[:1]) is None
