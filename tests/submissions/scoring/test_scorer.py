"""The scorer reads with distrust, agrees with the metrics, and orders as asked."""

from __future__ import annotations

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from challenge.configs.errors import UserError
from challenge.submissions.scoring import metrics, scorer, scores, statistics
from challenge.submissions.scoring.scores import Interval, Pair, Scorers, score_images


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Five images 3x24x20 with reconstructions of growing noise."""
    found = []
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
        truth, estimate = tmp_path / f"{number}.png", tmp_path / f"{number}.npy"
        Image.fromarray(pixels).save(truth)
        x = (pixels.transpose(2, 0, 1) / 255).astype(np.float32)
        noise = 0.02 * (number + 1) * rng.standard_normal(x.shape)
        np.save(estimate, (x + noise).astype(np.float32))
        found.append(Pair(str(number), str(truth), str(estimate)))
    return found


def request(pairs: list[Pair], crop: int = 0) -> dict[str, Any]:
    return {"pairs": [asdict(pair) for pair in pairs], "crop": crop, "threads": 1}


def truth_of(pair: Pair) -> np.ndarray:
    with Image.open(pair.truth) as image:
        pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)
    return pixels / np.float32(255)


def test_scores_in_order_with_their_mean(pairs: list[Pair]) -> None:
    steps: list[tuple[str, int, int]] = []
    found = score_images(pairs, crop=2, threads=2, progress=lambda *step: steps.append(step))
    assert [each.id for each in found.images] == ["0", "1", "2", "3", "4"]
    for pair, score in zip(pairs, found.images, strict=True):
        arrays = {"estimate": np.load(pair.estimate), "truth": truth_of(pair), "crop": 2}
        assert score.psnr == pytest.approx(metrics.psnr(**arrays), abs=1e-10)
        assert score.ssim == pytest.approx(metrics.ssim(**arrays), abs=1e-10)
    assert found.psnr is not None
    values = [each.psnr for each in found.images]
    assert found.psnr.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert min(values) < found.psnr.low < found.psnr.mean < found.psnr.high
    assert steps == [("score", done, 5) for done in range(1, 6)]
    *again, means = scorer.answers(request(pairs, crop=2))
    assert again == [{"id": s.id, "psnr": s.psnr, "ssim": s.ssim} for s in found.images]
    assert means["means"]["psnr"] == found.psnr.to_json()


def test_a_standard_deviation_is_held_against_the_error(pairs: list[Pair]) -> None:
    """Errors of 0.02 to 0.10, and standard deviations that are right, half, twice as large."""
    known = []
    for number, pair in enumerate(pairs):
        folder = Path(pair.estimate).parent / "deviation"
        folder.mkdir(exist_ok=True)
        size = 0.02 * (number + 1) * (1, 0.5, 2, 1, 1)[number]
        np.save(folder / f"{number}.npy", np.full((3, 24, 20), size, np.float32))
        known.append(Pair.of(pair.id, Path(pair.truth), folder.parent))
    found = score_images(known, crop=0, threads=1)
    shares = [each.calibration for each in found.images]
    one = [each.one for each in shares if each]
    # By clipping to [0, 1], some errors are smaller.
    assert one == pytest.approx([0.683, 0.383, 0.954, 0.683, 0.683], abs=0.06)
    assert shares[3].two == pytest.approx(0.954, abs=0.03)
    assert found.calibration is not None
    assert found.calibration.one == pytest.approx(np.mean(one), abs=1e-12)
    assert found.to_json()["calibration"]["one"] == found.calibration.one
    without = score_images(pairs, crop=0, threads=1)
    assert (without.psnr, without.calibration) == (found.psnr, None)
    assert "calibration" not in without.to_json()


@pytest.mark.parametrize(
    "content", [np.zeros((3, 24, 19), np.float32), np.zeros((3, 24, 20)), np.array(["s"], object)]
)
def test_a_standard_deviation_is_read_with_distrust(pairs: list[Pair], content: Any) -> None:
    folder = Path(pairs[0].estimate).parent / "deviation"
    folder.mkdir()
    np.save(folder / "0.npy", content, allow_pickle=True)
    pair = Pair.of("0", Path(pairs[0].truth), folder.parent)
    (answer,) = scorer.answers(request([pair]))
    assert answer["outcome"] == "bad_shape"
    assert "the standard deviation" in answer["cause"]


def test_one_image_has_no_interval(pairs: list[Pair]) -> None:
    *_, last = scorer.answers(request(pairs[:1]))
    assert last["means"]["psnr"]["low"] is None
    assert last["means"]["psnr"]["mean"] > 20


def test_equal_scores_have_no_interval() -> None:
    assert statistics.interval([3.0, 3.0, 3.0]) == Interval(3.0, None, None)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    draws = [statistics.interval(list(rng.normal(0, 1, 40))) for _ in range(60)]
    covered = sum(each.low <= 0 <= each.high for each in draws)
    assert 51 <= covered <= 60


def test_an_image_without_a_score_leaves_no_mean(pairs: list[Pair]) -> None:
    np.save(pairs[1].estimate, np.full((3, 24, 20), np.nan, np.float32))
    np.save(pairs[2].estimate, np.zeros((1, 24, 20), np.float32))
    Path(pairs[3].estimate).unlink()
    found = score_images(pairs, crop=0)
    outcomes = [each.outcome for each in found.images]
    assert outcomes == ["ok", "non_finite", "bad_shape", "missing_output", "ok"]
    assert found.psnr is None
    assert found.failure is not None
    assert found.failure.id == "1"


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was run')",))


def test_files_are_not_trusted(pairs: list[Pair], tmp_path: Path) -> None:
    path, shape = Path(pairs[0].estimate), (3, 24, 20)
    good = np.load(path)
    assert (scorer.load_estimate(path, shape) == good).all()
    elsewhere = tmp_path / "elsewhere.npy"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(scorer.Missing):
        scorer.load_estimate(path, shape)
    path.unlink()
    path.mkdir()
    with pytest.raises(scorer.Missing):
        scorer.load_estimate(path, shape)
    path.rmdir()
    for wrong in (
        good.astype(np.float64),
        good.astype(">f4"),
        good.transpose(0, 2, 1),
        good.view(np.int32),
        np.array([Bomb(), b"x" * good.nbytes], dtype=object),
    ):
        np.save(path, wrong, allow_pickle=True)
        with pytest.raises(metrics.BadShape):
            scorer.load_estimate(path, shape)
    path.write_bytes(elsewhere.read_bytes()[:-1])
    with pytest.raises(metrics.BadShape):
        scorer.load_estimate(path, shape)
    path.write_bytes(b"\x93NUMPY" + b"\xff" * good.nbytes)
    with pytest.raises(metrics.BadShape):
        scorer.load_estimate(path, shape)


def test_too_small_an_image_is_the_challenges_fault(pairs: list[Pair]) -> None:
    with pytest.raises(UserError, match=r"0\.png: 14x10 pixels are left to score"):
        score_images(pairs, crop=5)


def test_a_damaged_truth_is_named(pairs: list[Pair]) -> None:
    Path(pairs[1].truth).write_bytes(b"no png")
    with pytest.raises(UserError, match=r"1\.png"):
        list(scorer.answers(request(pairs)))


def test_a_fault_of_the_scorer_is_ours(pairs: list[Pair]) -> None:
    with pytest.raises(RuntimeError, match="the scorer failed"):
        score_images([Pair("0", pairs[0].truth, 5)], crop=0)  # type: ignore[arg-type]


def test_one_process_scores_one_request_after_the_other(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of threads too; after a fault there is another one."""
    started: list[Any] = []
    true = subprocess.Popen

    def start(*words: Any, **options: Any) -> Any:
        started.append(true(*words, **options))
        return started[-1]

    monkeypatch.setattr(scores.subprocess, "Popen", start)
    with Scorers(1) as scorers, ThreadPoolExecutor(3) as threads:
        alone = scorers.score_images(pairs, 0, threads=1)
        found = threads.map(lambda _: scorers.score_images(pairs, 0, threads=1), range(3))
        assert [*found] == 3 * [alone] and len(started) == 1
        with pytest.raises(RuntimeError, match="the scorer failed"):
            scorers.score_images([Pair("0", pairs[0].truth, 5)], 0)  # type: ignore[arg-type]
        assert scorers.score_images(pairs, 0, threads=1) == alone and len(started) == 2
    assert all(each.returncode is not None for each in started)


def test_threads_that_share_scorers_never_take_the_same_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []

    class Played:
        def __init__(self) -> None:
            self.busy, self.closed = threading.Lock(), False
            made.append(self)

        def score(self, *_: object) -> str:
            assert self.busy.acquire(blocking=False)
            time.sleep(0.001)
            self.busy.release()
            return "scores"

        def close(self) -> None:
            self.closed = True

    class Slow(list):  # type: ignore[type-arg]
        """Others come between the look and what follows from it."""

        def __len__(self) -> int:
            found = super().__len__()
            time.sleep(0.002)
            return found

    monkeypatch.setattr(scores, "_Scorer", Played)
    with Scorers(4) as scorers, ThreadPoolExecutor(8) as pool:
        scorers._idle = Slow()
        scorers.score_images([], 0)  # one is idle, for which all come at once
        found = [*pool.map(lambda _: scorers.score_images([], 0), range(40))]
    assert found == ["scores"] * 40
    assert 1 <= len(made) <= 4
    assert all(each.closed for each in made)
