"""Several methods on the same images: scores are the scorer's, differences obey their laws."""

from __future__ import annotations

import builtins
import json
import os
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageFont
from safetensors.torch import load_file

from challenge.configs.errors import UserError
from challenge.configs.loader import load_challenge
from challenge.data import locks
from challenge.data.challenges.challenge import Challenge, open_challenge, read_manifest
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Public, Workspace
from challenge.data.physics import measurements
from challenge.submissions import layout
from challenge.submissions.entries import pack
from challenge.submissions.entries.check import check
from challenge.submissions.inference.supervisor import Inference, Step
from challenge.submissions.judging import trial
from challenge.submissions.layout import Run
from challenge.submissions.outcomes import Outcome
from challenge.submissions.reports import (
    candidates,
    comparison,
    comparison_pictures,
    comparison_rows,
    images_to_show,
)
from challenge.submissions.reports.candidates import Candidate
from challenge.submissions.reports.comparison import Compared, Comparison
from challenge.submissions.scoring import scorer, statistics
from challenge.submissions.scoring.scores import Interval, Score, Scores

RNG = np.random.default_rng(0)
IDS = [f"image-{number}" for number in range(9)]
FIRST, OTHER, THIRD = (dict(zip(IDS, 25 + RNG.normal(size=9), strict=True)) for _ in range(3))


def scores(levels):
    return Scores(tuple(Score(each, value, 0.5) for each, value in levels.items()), None, None)


def informative(**methods):
    return images_to_show.informative_images(
        {name: scores(levels) for name, levels in methods.items()}
    )


def made(name, levels, first=FIRST, folder=Path()):
    difference = statistics.paired(levels, first)
    candidate = Candidate(name, Path(name), "tiny")
    return Compared(candidate, folder, False, scores(levels), 1.0, 1.0, 1, difference)


@pytest.fixture
def instantly(monkeypatch):
    """In place of the judge's process, x_hat = gain y with the gain of the weights; in place of
    the scorer's, its functions."""

    def infer(entry, sources, output, *_, progress=None, planned=None, **__):
        output.mkdir(exist_ok=True)
        gain = float(load_file(entry / "weights.safetensors")["gain"])
        seconds = {}
        for number, source in enumerate(sources, 1):
            m = measurements.read(source)
            np.save(output / f"{m.identity}.npy", np.float32(gain) * m.y)
            seconds[m.identity] = 0.5
            if progress is not None:
                progress(Step(m.identity, 0.5, number, len(sources), 1.0))
        return Inference("ok", "", seconds, 1.0, 2.0, 1.0, 1, "")

    def score(pairs, crop, **_):
        images = [
            Score(each.id, **scorer.score_one(Path(each.truth), Path(each.estimate), crop))
            for each in pairs
        ]
        good = [image.psnr for image in images if image.psnr is not None]
        return Scores(tuple(images), Interval(float(np.mean(good)), None, None), None)

    monkeypatch.setattr("challenge.submissions.inference.supervisor.infer", infer)
    monkeypatch.setattr("challenge.submissions.judging.trial.score_images", score)


def compare(paths, challenge, folder):
    done = compare_all(paths, challenge, folder)
    assert not done.failed, done.failed
    return list(done.compared)


def compare_all(paths, challenge, folder):
    found, refused = candidates.check_candidates(candidates.look_at(paths), challenge)
    done = comparison.compare(found, challenge, folder, level="process")
    return Comparison(done.compared, (*refused, *done.failed))


LONG = "a-rather-long-name-of-a-run-that-goes-on"
INSTANTLY = pytest.mark.usefixtures("instantly")


def unfinished(run, *_):
    rewrite(run, lambda record: record.update(state="started"))


def prepared_anew(run, *_):
    rewrite(run, lambda record: record["challenge"].update(hash="0" * 64))


def rewrite(run, change):
    record = json.loads(Run(run).facts.read_text())
    change(record)
    Run(run).facts.write_text(json.dumps(record))


def no_weights(run, *_):
    Run(run).weights.unlink()


def ends_with(outcome):
    """The judge's process ends so for this run, for others as it did."""

    def fault(run, tmp_path, monkeypatch):
        infer = trial.infer

        def failing(what, *rest, **options):
            if getattr(what, "path", what) == run:
                return Inference(outcome, f"it was {outcome}", {}, 1.0, 2.0, 1.0, 1, "its log")
            return infer(what, *rest, **options)

        monkeypatch.setattr(trial, "infer", failing)

    return fault


FAULTS = {
    "unfinished": unfinished,
    "prepared anew": prepared_anew,
    "no weights": no_weights,
    **{each: ends_with(each) for each in sorted(set(get_args(Outcome)) - {"ok"})},
}
"""What may be wrong with a run, by name; the judge's words are outcomes of its process."""


class TestPaired:
    def test_a_method_differs_from_itself_by_exactly_nothing(self):
        assert statistics.paired(FIRST, FIRST) == Interval(0.0, 0.0, 0.0)

    def test_it_is_the_mean_of_the_differences_within_its_interval(self):
        found = statistics.paired(OTHER, FIRST)
        assert found.mean == pytest.approx(np.mean([OTHER[each] - FIRST[each] for each in IDS]))
        assert found.low < found.mean < found.high

    def test_a_constant_gain_has_no_spread(self):
        """What all images agree on is not drowned by how much images differ."""
        gained = {each: value + 0.5 + 1e-3 * OTHER[each] for each, value in FIRST.items()}
        found = statistics.paired(gained, FIRST)
        assert found.high - found.low < 5e-3

    def test_the_order_of_the_images_does_not_matter(self):
        turned = dict(reversed(OTHER.items()))
        expected = statistics.paired(OTHER, FIRST)
        assert statistics.paired(turned, FIRST) == expected

    def test_swapped_methods_flip_the_sign(self):
        there = statistics.paired(OTHER, FIRST)
        back = statistics.paired(FIRST, OTHER)
        assert back.mean == -there.mean
        assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)

    def test_a_single_image_has_no_interval(self):
        one = {"a": 20.0}
        assert statistics.paired({"a": 21.5}, one) == Interval(1.5, None, None)
        assert statistics.paired(one, one) == Interval(0.0, 0.0, 0.0)

    def test_other_images_are_a_bug(self):
        with pytest.raises(ValueError, match="not the same"):
            statistics.paired({"a": 20.0}, {"b": 20.0})


class TestInformativeImages:
    def test_at_most_four_each_for_its_reason(self):
        rows = informative(a=FIRST, b=OTHER, c=THIRD)
        gains = {name: statistics.paired(x, FIRST).mean
                 for name, x in (("b", OTHER), ("c", THIRD))}  # fmt: skip
        rival = max(gains, key=gains.get)
        best = {"b": OTHER, "c": THIRD}[rival]
        gain = {each: best[each] - FIRST[each] for each in IDS}
        named = {reason: identity for identity, reason in rows}
        assert 1 <= len(rows) <= 4
        assert gain[rows[0][0]] == pytest.approx(np.median([*gain.values()]))
        assert named[f"largest {rival} - a"] == max(gain, key=gain.get)
        assert named[f"smallest {rival} - a"] == min(gain, key=gain.get)

    def test_swapped_methods_have_the_same_images(self):
        one = informative(a=FIRST, b=OTHER)
        two = informative(b=OTHER, a=FIRST)
        assert {each for each, _ in one} == {each for each, _ in two}

    def test_a_single_method_and_a_single_image(self):
        assert [reason for _, reason in informative(a=FIRST)] == [
            "median PSNR", "highest PSNR", "lowest PSNR",
        ]  # fmt: skip
        one = {"a": 20.0}
        assert len(informative(x=one, y=one)) == 1


class TestRuns:
    @pytest.mark.slow
    def test_scores_are_those_of_challenge_score(self, make_run, challenge, tmp_path):
        one, two = make_run(), make_run(name="half", method={"name": "method.py:Mine", "gain": 0.5})
        trial.infer(one, challenge, level="process")
        expected = trial.score(one, challenge)
        first, second = compare([one.path, two.path], challenge, tmp_path / "scratch")
        assert first.scores == expected
        assert (first.reused, second.reused) == (True, False)
        assert second.scores == trial.score(two, challenge)
        assert first.difference == Interval(0.0, 0.0, 0.0)
        gain = second.scores.psnr.mean - expected.psnr.mean
        assert second.difference.mean == pytest.approx(gain)
        assert first.parameters == 3
        assert first.megabytes == 6e-6  # a float16 and a buffer of two bytes, and no header
        assert first.seconds > 0

    @INSTANTLY
    def test_reconstructions_of_other_weights_are_made_anew(self, make_run, challenge, tmp_path):
        run = make_run()
        (before,) = compare([run.path], challenge, tmp_path / "1")
        (again,) = compare([run.path], challenge, tmp_path / "2")
        assert (before.reused, again.reused) == (False, True)
        other = make_run(name="other", method={"name": "method.py:Mine", "gain": 0.5})
        shutil.copyfile(other.weights, run.weights)
        os.utime(run.weights)
        (fresh,) = compare([run.path], challenge, tmp_path / "3")
        assert not fresh.reused
        assert fresh.scores.psnr.mean < before.scores.psnr.mean - 1

    @INSTANTLY
    def test_a_reconstruction_that_is_gone_is_made_again(self, make_run, challenge, tmp_path):
        run = make_run()
        compare([run.path], challenge, tmp_path / "1")
        next(run.reconstructions("val").glob("*.npy")).unlink()
        (found,) = compare([run.path], challenge, tmp_path / "2")
        assert not found.reused

    @INSTANTLY
    def test_an_interrupt_leaves_what_was_there(self, make_run, challenge, tmp_path):
        run = make_run()
        trial.infer(run, challenge, level="process")
        before = {path.name: path.read_bytes() for path in run.reconstructions("val").iterdir()}
        os.utime(run.weights)

        def stop(name, step):
            raise KeyboardInterrupt

        found = candidates.look_at([run.path])
        with pytest.raises(KeyboardInterrupt):
            comparison.compare(found, challenge, tmp_path / "s", level="process", progress=stop)
        after = {path.name: path.read_bytes() for path in run.reconstructions("val").iterdir()}
        assert after == before
        assert not list(run.path.rglob("*.partial"))


class TestEntries:
    @pytest.mark.slow
    def test_an_entry_is_its_run(self, make_entry, challenge, tmp_path):
        entry = make_entry()
        run = Run(tmp_path / "workspace" / "runs" / "tiny" / "mine")
        paths = [run.path, entry, entry]
        first, second, third = compare(paths, challenge, tmp_path / "scratch")
        names = [each.candidate.name for each in (first, second, third)]
        assert names == ["mine", "alpha-mine", "alpha-mine (2)"]
        assert second.scores == first.scores
        assert second.difference == Interval(0.0, 0.0, 0.0)
        assert (second.megabytes, second.parameters) == (first.megabytes, first.parameters)
        assert second.folder == third.folder

    def test_its_code_runs_elsewhere_and_its_failure_is_told(
        self, make_entry, mine, challenge, tmp_path
    ):
        bad = "import builtins\nbuiltins.COMPARED = True\n" + mine.replace(
            "return self.gain", "raise ValueError('no')\n        return self.gain"
        )
        entry = make_entry(bad)
        vars(builtins).pop("COMPARED", None)  # the fixture itself built the method here
        (failure,) = compare_all([entry], challenge, tmp_path / "scratch").failed
        assert (failure.candidate.name, failure.outcome) == ("alpha-mine", "crash")
        assert "ValueError: no" in failure.log
        assert not hasattr(builtins, "COMPARED")

    @INSTANTLY
    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_one_that_fails_leaves_the_others(
        self, make_entry, make_run, challenge, tmp_path, monkeypatch, fault, place
    ):
        """Whatever goes wrong with one of three, before, while or after it runs."""
        entry, other = make_entry(), make_run(name="other").path
        bad = make_run(name="bad").path
        FAULTS[fault](bad, tmp_path, monkeypatch)
        paths = [entry, other]
        paths.insert(place, bad)
        found = compare_all(paths, challenge, tmp_path / "scratch")
        assert [each.candidate.path for each in found.compared] == [entry, other]
        assert found.compared[0].difference == Interval(0.0, 0.0, 0.0)
        (failure,) = found.failed
        assert failure.candidate.path == bad
        assert failure.outcome == (fault if fault in get_args(Outcome) else "refused")
        assert failure.cause

    @INSTANTLY
    def test_a_run_that_is_worked_on_leaves_the_others(
        self, make_entry, make_run, challenge, tmp_path
    ):
        entry, busy = make_entry(), make_run(name="busy")
        with locks.alone(busy.lock, busy.path, "is being trained by"):
            found = compare_all([busy.path, entry], challenge, tmp_path / "scratch")
        assert [each.candidate.path for each in found.compared] == [entry]
        (failure,) = found.failed
        assert (failure.candidate.path, failure.outcome) == (busy.path, "refused")
        assert "is being trained by" in failure.cause

    def test_every_problem_of_every_entry_is_told_at_once(self, make_entry, challenge, tmp_path):
        good = make_entry()
        bad = []
        for name in ("one.zip", "two.zip"):
            content = bytearray(good.read_bytes())
            content[content.find(b"x_hat = gain")] ^= 1
            (tmp_path / name).write_bytes(content)
            bad.append(tmp_path / name)
        with pytest.raises(UserError) as caught:
            candidates.check_candidates(candidates.look_at(bad), challenge)
        assert {each.place.partition("/")[0] for each in caught.value.mistakes} == {
            "one.zip",
            "two.zip",
        }


class TestRefused:
    @pytest.mark.parametrize("name", ["typo", "typo.zip"])
    def test_what_does_not_exist(self, make_run, tmp_path, name):
        with pytest.raises(UserError) as caught:
            candidates.look_at([make_run().path, tmp_path / name])
        (mistake,) = caught.value.mistakes
        assert str(mistake).startswith(
            f"{tmp_path / name}: does not exist; "
            "give a run's folder, a zip made by `challenge pack`, or a baseline: `"
        )

    def test_what_is_neither_run_nor_entry(self, tmp_path):
        (tmp_path / "x.zip").write_bytes(b"this is no zip")
        for path, cause in ((tmp_path, "is not a run"), (tmp_path / "x.zip", "is not a zip file")):
            with pytest.raises(UserError, match=cause) as caught:
                candidates.look_at([path])
            assert len(caught.value.mistakes) == 1

    def test_methods_of_two_challenges(self, make_run):
        one, two = make_run(), make_run(name="two")
        record = json.loads(two.facts.read_text())
        record["challenge"]["name"] = "other"
        two.facts.write_text(json.dumps(record))
        with pytest.raises(UserError) as caught:
            candidates.look_at([one.path, two.path])
        (mistake,) = caught.value.mistakes
        assert str(mistake) == (
            f"{two.path}: is for `other`, {one.path} is for `tiny`; "
            "compare runs and entries of one challenge"
        )
        with pytest.raises(UserError, match="is for `other`, not for `tiny`"):
            candidates.look_at([two.path], "tiny")

    def test_a_run_of_another_preparation(self, make_run, challenge):
        run = make_run()
        record = json.loads(run.facts.read_text())
        record["challenge"]["hash"] = "0" * 64
        run.facts.write_text(json.dumps(record))
        with pytest.raises(UserError, match="another preparation"):
            candidates.check_candidates(candidates.look_at([run.path]), challenge)

    def test_a_baseline_is_packed_for_the_challenge_of_the_others(
        self, workspace, challenge, monkeypatch, make_entry, make_run
    ):
        entry, run = make_entry(), make_run(name="theirs").path
        for module in (candidates, pack):
            monkeypatch.setattr(module, "baselines", lambda: {"mine": entry})
        monkeypatch.setattr(
            candidates, "_challenge_of", lambda path: "other" if path == entry else "tiny"
        )
        found = candidates.look_at([entry, run])
        assert [each.challenge for each in found] == ["tiny", "tiny"]
        assert candidates.look_at([entry])[0].challenge == "deblur"
        assert candidates.look_at([entry], "tiny") == found[:1]
        assert candidates.look_at([Path("mine")])[0].path == entry
        admitted, refused = candidates.check_candidates(found, challenge)
        assert not refused
        assert [each.name for each in admitted] == [each.name for each in found]
        assert admitted[0].path == layout.entry(workspace, "baseline", "mine")
        assert admitted[1] == found[1]

    @pytest.mark.parametrize("rule", ["pretrained", "external_data"])
    def test_a_baseline_is_looked_at_where_its_kind_may_not_be_handed_in(
        self, workspace, challenge, monkeypatch, make_entry, rule
    ):
        entry = make_entry()
        for module in (candidates, pack):
            monkeypatch.setattr(module, "baselines", lambda: {"mine": entry})
        rules = challenge.config.rules.model_copy(update={rule: "forbidden"})
        config = challenge.config.model_copy(update={"rules": rules})
        strict = Challenge(challenge.path, config, read_manifest(Public(challenge.path)))
        admitted, refused = candidates.check_candidates(
            candidates.look_at([Path("mine")], "tiny"), strict
        )
        assert not refused
        if rule == "pretrained":
            assert check(admitted[0].path, strict), "it is still refused where it is handed in"

    def test_an_image_that_is_not_there(self, challenge):
        one = challenge.ids("val")[0]
        assert images_to_show.requested_images([one, one], challenge) == [(one, "")]
        with pytest.raises(UserError, match=f"`{one}x` is not an image of val.*`{one}`"):
            images_to_show.requested_images([f"{one}x"], challenge)


VALID = """
name: {name}
images: {{source: builtin, size: {size}, train: 4, val: 1, test: 1, mode: {mode}}}
operator: {{kernel: {{kind: motion, size: 9}}, boundary: {boundary}}}
noise: {{sigma: 0.03}}
"""


@pytest.fixture(scope="module", params=[(48, "grey", "valid"), (300, "colour", "circular")],
                ids=["small", "large"])  # fmt: skip
def pictured(request, tmp_path_factory):
    """A challenge, and the folder of a perfect estimate and of one with a wrong block."""
    size, mode, boundary = request.param
    folder = tmp_path_factory.mktemp("pictured")
    text = VALID.format(name="seen", size=size, mode=mode, boundary=boundary)
    (folder / "seen.yaml").write_text(text)
    config, source = load_challenge(str(folder / "seen.yaml"))
    prepare(config, source, Workspace(folder), progress=lambda *_: None, notice=lambda _: None)
    challenge = open_challenge(Workspace(folder).public("seen").path)
    (identity,) = challenge.ids("val")
    truth = challenge.truth(identity)
    wrong = truth.copy()
    wrong[:, -14:-10, 10:14] = 1 - wrong[:, -14:-10, 10:14].round()
    for name, array in (("right", truth), ("wrong", wrong)):
        (folder / name).mkdir()
        np.save(folder / name / f"{identity}.npy", array)
    levels = {identity: 30.0}
    compared = [made(name, levels, levels, folder / name) for name in ("wrong", "right")]
    return challenge, compared


class TestPicture:
    def test_region_errors_and_scale(self, pictured):
        challenge, compared = pictured
        (identity,) = challenge.ids("val")
        row = comparison_rows.row_of(identity, "", compared, challenge)
        _, height, width = row.truth.shape
        top, left, high, broad = row.region
        assert top <= height - 14 and height - 10 <= top + high <= height
        assert left <= 10 and left + broad >= 14
        for error, each in zip(row.errors, row.estimates, strict=True):
            np.testing.assert_allclose(error, np.abs(each - row.truth).mean(0), atol=1e-7)
        assert not row.errors[1].any() and row.errors[0].any()
        assert row.scale >= 1 / 255
        assert row.y.shape == row.truth.shape

    def test_equal_methods_show_where_the_error_is(self, pictured):
        challenge, compared = pictured
        (identity,) = challenge.ids("val")
        row = comparison_rows.row_of(identity, "", [compared[0]] * 2, challenge)
        top, _, high, _ = row.region
        assert top <= row.truth.shape[1] - 14 and top + high >= row.truth.shape[1] - 10

    def test_columns_and_lines(self, pictured, tmp_path):
        challenge, compared = pictured
        (identity,) = challenge.ids("val")
        path = tmp_path / "new" / "comparison.png"
        comparison_pictures.draw(path, compared, challenge, [(identity, "why")])
        pixels = np.asarray(Image.open(path))
        size = challenge.truth(identity).shape[1:]
        how = comparison_pictures.plan(4, 1, size)
        assert pixels.shape[:2] == how.page[::-1]
        assert how.line == 4
        (wide, tall), margin = how.block, comparison_pictures.MARGIN
        left, top = ((page - block) // 2 for page, block in zip(how.page, how.block, strict=True))
        block = pixels[top : top + tall, left : left + wide]
        outside = pixels.copy()
        outside[top : top + tall, left : left + wide] = 255
        assert (outside == 255).all()
        tall, wide = comparison_rows.shown_size(*size)
        begin = comparison_pictures.LINE + margin
        columns = [block[begin:, margin + n * how.step :][:, :wide] for n in range(4)]
        wrong, right, truth = (column[:tall] for column in columns[1:])
        assert np.array_equal(right, truth)
        assert not np.array_equal(wrong, truth)
        below = 2 * (tall + margin) + comparison_rows.CAPTIONS * comparison_pictures.LINE
        wrong, right = (column[below : below + tall] for column in columns[1:3])
        edge = challenge.crop * tall // size[0]
        inner = right[edge : tall - edge, edge : wide - edge]
        assert inner.max() <= 4, "a perfect estimate is black"
        assert right[:edge].all() and right[:, :edge].all(), "what is not scored is white"
        assert wrong.max() > 150

    @pytest.mark.parametrize(("count", "name"), [(1, "tv"), (3, LONG), (12, LONG)])
    def test_a_slide_of_any_number_of_methods(self, pictured, tmp_path, count, name):
        """16:9, every picture on it, and letters that can be read on 1920 pixels."""
        challenge, compared = pictured
        (identity,) = challenge.ids("val")
        many = [
            made(f"{name}-{n}", {identity: 30.0}, {identity: 30.0}, compared[n % 2].folder)
            for n in range(count)
        ]
        told = [(identity, f"largest {name}-1 - {name}-0")] * 4
        shown = comparison_pictures.fitting(told, many, challenge)
        assert shown == told[: len(shown)] and shown
        path = tmp_path / "comparison.png"
        comparison_pictures.draw(path, many, challenge, shown)
        with Image.open(path) as picture:
            width, height = picture.size
        assert width * 9 == height * 16
        assert comparison_pictures.LETTER * 1920 / width >= 12
        how = comparison_pictures.plan(count + 2, len(shown), challenge.truth(identity).shape[1:])
        assert how.filled > 0.5
        row = comparison_rows.row_of(identity, "why", many, challenge)
        assert all("SSIM" in words[-1] and "dB" in words[1] for words in row.captions[1:-1])
        if row.captions[0][0] != "measured":
            assert "SSIM" in row.captions[0][2]
        font = ImageFont.load_default(comparison_pictures.LETTER)
        for words in row.captions:
            assert max(map(font.getlength, words)) <= how.step

    def test_an_interrupt_leaves_the_picture_that_was_there(self, pictured, tmp_path, monkeypatch):
        challenge, compared = pictured
        (tmp_path / "a.png").write_bytes(b"before")

        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("os.fsync", stop)
        with pytest.raises(KeyboardInterrupt):
            comparison_pictures.draw(
                tmp_path / "a.png", compared, challenge, [(challenge.ids("val")[0], "")]
            )
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
        assert (tmp_path / "a.png").read_bytes() == b"before"


@pytest.mark.parametrize(("height", "width"), [(32, 4096), (4096, 32), (33, 33), (256, 171)])
def test_pictures_of_any_shape_have_a_region(height, width):
    estimates = [RNG.random((1, height, width), np.float32) for _ in range(2)]
    errors = [each[0] for each in estimates]
    top, left, high, broad = comparison_rows.differing_region(estimates, errors, 0)
    assert 0 <= top < top + high <= height and 0 <= left < left + broad <= width
    kernel = np.full((151, 151), 1 / 151**2, np.float32)
    row = comparison_rows.Row(
        "title", estimates[0], (kernel, "kernel"), estimates[0], tuple(estimates),
        (("a",), ("b",), ("c",), ("d",)), (top, left, high, broad), tuple(errors), (0.5, 0.5),
        4, 0.1,
    )  # fmt: skip
    how = comparison_pictures.plan(4, 1, (height, width))
    assert comparison_pictures._draw_row(row, how).size == how.block
    assert how.block[0] >= how.line * comparison_pictures.LEAST


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.004), (0.1, 0.1), (0.1001, 0.11)])
def test_the_scale_is_rounded_up(value, expected):
    assert comparison_rows.rounded_up(value) == pytest.approx(expected)


@INSTANTLY
def test_a_failed_score_names_the_remedy(make_run, challenge, tmp_path):
    run = make_run()
    compare([run.path], challenge, tmp_path / "1")
    path = next(run.reconstructions("val").glob("*.npy"))
    np.save(path, np.zeros((3, 5, 5), np.float32))
    (failure,) = compare_all([run.path], challenge, tmp_path / "2").failed
    assert "challenge infer" in failure.mistakes[0].remedy
