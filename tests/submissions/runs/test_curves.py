"""What an entry carries of its training's log: a few kilobytes that say what the log says."""

import json
import math

import pytest

from challenge.submissions.layout import Run
from challenge.submissions.runs import curves

LINE = {"step": 1, "total": 9, "loss": 0.5, "psnr": 20.0}


def run(folder, lines):
    folder.mkdir(exist_ok=True)
    text = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines)
    (folder / "log.jsonl").write_text(text)
    return Run(folder)


def test_a_long_training_is_a_few_kilobytes(tmp_path):
    lines = [
        {"step": n, "total": 50_000, "loss": 1 / n, "lr": 1e-3, "gradient": 3.0}
        | ({"psnr": 20 + n / 1e4, "ssim": n / 1e5} if n % 100 == 0 else {})
        for n in range(1, 50_001)
    ]
    found = curves.of(run(tmp_path / "a", lines))
    assert found.curves.keys() == set(curves.NAMES)
    for curve in found.curves.values():
        assert len(curve.steps) == curves.POINTS
        assert curve.steps[-1] == 50_000
    assert found.curves["psnr"].values[-1] == 25.0
    # The loss is a mean over all steps, none of which is left out.
    loss = found.curves["loss"]
    ends = (0, *loss.steps)
    sums = [v * (b - a) for v, a, b in zip(loss.values, ends, ends[1:], strict=False)]
    assert sum(sums) == pytest.approx(sum(each["loss"] for each in lines), rel=1e-4)
    assert len(curves.dump(found)) < 10_000
    assert curves.parse(curves.dump(found)) == found


@pytest.mark.parametrize(
    ("lines", "steps", "values"),
    [
        ([LINE], (1,), (20.0,)),
        ([LINE, {"step": 2, "psnr": None}], (1,), (20.0,)),
        ([LINE, "5", "[]", '{"psnr": 3}', '{"step": "2", "psnr": 3}'], (1,), (20.0,)),
        ([LINE, {"step": 3, "psnr": math.nan}, {"step": 2, "psnr": True}], (1,), (20.0,)),
        ([{"step": 7, "psnr": 1.0}, LINE, {"step": 7, "psnr": 9.0}], (1, 7), (20.0, 9.0)),
        ([LINE, '{"step": 2, "psnr": 3'], (1,), (20.0,)),
    ],
)
def test_what_is_no_value_is_left_out(tmp_path, lines, steps, values):
    found = curves.of(run(tmp_path / "a", lines)).curves["psnr"]
    assert (found.steps, found.values) == (steps, values)


def test_a_run_without_a_log_has_none(tmp_path):
    assert curves.of(Run(tmp_path)) is None
    assert curves.of(run(tmp_path / "a", [{"step": 1, "bf16_cost": 0.1}])) is None


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff", b"[" * 5000, b"{}" + b" " * 40_000,
        b'{"format":2,"curves":{"psnr":{"steps":[1],"values":[1]}}}',
        b'{"format":1,"curves":{}}',
        b'{"format":1,"curves":{"<script>":{"steps":[1],"values":[1]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[],"values":[]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[1,2],"values":[1]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[2,1],"values":[1,2]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[-1],"values":[1]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[1],"values":[1e999]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[1],"values":[NaN]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[1],"values":["<b>"]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[1' + b"0" * 400 + b'],"values":[1]}}}',
        b'{"format":1,"curves":{"psnr":{"steps":[1],"values":[1e300]}}}',
    ],
)  # fmt: skip
def test_what_is_no_curves_is_refused_in_one_line(content):
    with pytest.raises(ValueError, match=r".") as raised:
        curves.parse(content)
    assert "\n" not in str(raised.value)
