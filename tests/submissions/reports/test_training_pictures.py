"""Numbers in pictures are the judge's, whatever the boundary and the crop."""

import numpy as np
import pytest

from challenge.configs.loader import load_challenge
from challenge.data.challenges.challenge import open_challenge
from challenge.data.challenges.prepare import prepare
from challenge.data.layout import Workspace
from challenge.data.physics.problem import tensors
from challenge.methods.variational.wiener import Wiener
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
    assert shown["estimate"] == f"estimate {judged.psnr.mean:.2f} dB"
    captions.clear()
    images = [(identity, public.measurement("val", identity), public.image("val", identity))]
    pictures.draw_all(tmp_path, images, judged, crop=challenge.crop)
    shown = {panel.caption.split()[0]: panel.caption for panel in captions}
    if boundary != "valid":
        y, truth = challenge.measurement("val", identity).y, challenge.truth(identity)
        level = metrics.psnr(estimate=y, truth=truth, crop=expected)
        assert shown["measured"] == f"measured {level:.2f} dB"
