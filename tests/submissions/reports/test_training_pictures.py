"""Numbers in pictures are the judge's, whatever the boundary and the crop."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from challenge.configs.loader import load_challenge
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.data.physics.problem import tensors
from challenge.methods.variational.wiener import Wiener
from challenge.submissions.layout import Run
from challenge.submissions.reports import training_pictures
from challenge.submissions.scoring import metrics, pictures
from challenge.submissions.scoring.scores import Pair, score_images

TEXT = """
name: bordered
images: {source: builtin, size: 64, train: 4, val: 1, test: 1}
operator: {kind: blur, kernel: {kind: gaussian, std: 2.0}, boundary: BOUNDARY}
noise: {kind: gaussian, sigma: 0.03}
metric: {crop: CROP}
"""


@pytest.mark.parametrize(
    ("boundary", "crop", "expected"),
    [("valid", "null", 8), ("valid", "3", 3), ("circular", "null", 0), ("reflect", "9", 9)],
)
def test_captions_are_the_score_of_the_judge(tmp_path, monkeypatch, boundary, crop, expected):
    text = TEXT.replace("BOUNDARY", boundary).replace("CROP", crop)
    (tmp_path / "bordered.yaml").write_text(text)
    config, source = load_challenge(str(tmp_path / "bordered.yaml"))
    place = Workspace(tmp_path)
    prepare(config, source, place, progress=lambda *_: None, notice=lambda _: None)
    public = place.public("bordered")
    challenge = open_challenge(public.path)
    assert challenge.crop == challenge.problem.crop == expected
    (identity,) = challenge.ids("val")
    x_hat = Wiener()(*tensors(challenge.measurement("val", identity)))[0].numpy()
    np.save(tmp_path / f"{identity}.npy", x_hat)
    pair = Pair(identity, str(public.image("val", identity)), str(tmp_path / f"{identity}.npy"))
    judged = score_images([pair], challenge.crop)
    captions = []
    drawn = pictures.row
    monkeypatch.setattr(
        pictures, "row", lambda panels, *rest: captions.extend(panels) or drawn(panels, *rest)
    )
    training_pictures.samples(Wiener(), challenge, tmp_path / "samples.png")
    shown = {panel.caption.split()[0]: panel.caption for panel in captions}
    ours = f"estimate {judged.psnr.mean:.2f} dB, SSIM {judged.ssim.mean:.3f}"
    assert shown["estimate"] == ours
    y, truth = challenge.measurement("val", identity).picture, challenge.truth(identity)
    if boundary != "valid":
        level = metrics.psnr(estimate=y, truth=truth, crop=expected)
        similarity = metrics.ssim(estimate=y, truth=truth, crop=expected)
        assert shown["measured"] == f"measured {level:.2f} dB, SSIM {similarity:.3f}"
    else:
        assert shown["measured"] == "measured"
    captions.clear()
    images = [(identity, public.measurement("val", identity), public.image("val", identity))]
    pictures.draw_all(tmp_path, images, judged, crop=challenge.crop)
    shown = {panel.caption.split()[0]: panel.caption for panel in captions}
    if boundary != "valid":
        assert shown["measured"] == f"measured {level:.2f} dB"


@pytest.mark.parametrize("names", [("mine",), ("mine", "other")])
@pytest.mark.parametrize("title", ["", "a title"])
def test_curves_say_whose_they_are_and_what_tune_is(tmp_path, monkeypatch, names, title):
    runs = {}
    for name in names:
        runs[name] = Run(tmp_path / name)
        runs[name].path.mkdir()
        lines = [{"step": n, "loss": 1 / (n + 1), "lr": 1e-3} for n in range(0, 40, 10)]
        lines += [{"step": n, "psnr": 20.0 + n, "ssim": 0.5 + n / 100} for n in (0, 30)]
        runs[name].log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: figures.append(self) or savefig(self, *a, **k)
    )
    training_pictures.curves(runs, tmp_path / "curves.png", title)
    (figure,) = figures
    assert [axis.get_title() for axis in figure.axes] == [
        "loss", "PSNR on tune (dB)", "SSIM on tune", "learning rate"
    ]  # fmt: skip
    for axis in figure.axes:
        assert {line.get_label() for line in axis.lines} >= set(names)
        assert max(len(line.get_xdata()) for line in axis.lines) >= 2, "every panel has its curve"
    assert figure.get_suptitle() == (title or ("mine" if len(names) == 1 else ""))
    assert "held out" in figure.get_supxlabel()
