"""Slices of scanners that pip brings: what was learned on phantoms, on them; written into the docs.

    uv pip install --no-deps pydicom pydicom-data nilearn nibabel
    python -m benchmarks.course.slices [WORKSPACE]

`ct-slices` has CT slices of pydicom and of pydicom-data, the mean of 4x4 pixels where they have
512, in HU; `mri-slices` axial slices of nilearn's MNI152 T1 template, 2 mm a pixel, with a smooth
random phase. Operator and noise are those of `ct` and `mri`. Slices are read from where the
packages were installed; nothing of them is copied into the repository but the pictures.

`tv` finds its weight on the slices of train; `lpd` and `unrolled` are the runs of
`benchmarks.course.medical` as they are, which saw phantoms alone. A run that exists is used again,
and one of phantoms that is not finished is left out. Writes the tables of `docs/medical.md` and the
pictures `docs/medical-slices-*.png`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import pages
from benchmarks.course import medical_pictures
from benchmarks.course.readme import challenge
from benchmarks.course.tuesday import finished, learn
from challenge.data.challenges.challenge import Challenge, open_challenge
from challenge.data.images import slice_files
from challenge.data.images.codec import stored, to_unit
from challenge.data.layout import Workspace
from challenge.data.physics.measurements import Measurement, read
from challenge.data.physics.problem import tensors
from challenge.methods.contract import Method
from challenge.submissions import layout
from challenge.submissions.entries.load import load
from challenge.submissions.scoring.metrics import nmse, psnr, ssim

PAGE = Path(__file__).parents[2] / "docs" / "medical.md"
BEGIN, END = "<!-- begin: python -m benchmarks.course.slices -->", "<!-- end of slices -->"
SIZE = 128
Field = NDArray[np.float64]

CT = {
    "train": {"vertebra": ("pydicom", "data/test_files/CT_small.dcm"),
              "skull base": ("pydicom", "data/test_files/J2K_pixelrep_mismatch.dcm")},
    "val": {"head": ("data_store", "data/693_UNCR.dcm")},
    "test": {"abdomen": ("data_store", "data/explicit_VR-UN.dcm")},
}  # fmt: skip
"""Package and file by split; every slice is of another patient."""
TEMPLATE = "nilearn", "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
AXIAL = {"train": range(30, 90, 2), "val": range(96, 116, 4), "test": range(116, 140, 4)}
"""Slices of the template, 1 mm apart: neighbours are in one split."""
VALUES = {
    "ct": "{unit: HU, low: -1000, high: 1000, window: [-160, 240]}",
    "mri": '{unit: "", low: 0, high: 255, window: [0, 255]}',
}
WINDOWS = {"ct": "-160 to 240 HU", "mri": "0 to 255"}
TUNED = ["tv", "method.weight=null", "train.tune=8"]
RUNS = {
    "ct": {"fbp": ["fbp"], "tv": TUNED},
    "mri": {"zero_filled": ["zero_filled"], "tv": TUNED},
}
"""What learns on the slices, if anything."""
PHANTOMS = {"ct": "ct-lpd", "mri": "mri-unrolled"}
"""The run of `benchmarks.course.medical` that learned on phantoms."""


class Case(NamedTuple):
    """A slice that nothing learned on."""

    name: str
    measurement: Measurement
    truth: NDArray[np.float32]


class Row(NamedTuple):
    """A method on all of them: (images, 3) of PSNR in dB, SSIM and NMSE."""

    learned: str
    scores: Field


def main() -> None:
    workspace = Workspace(Path(sys.argv[1] if len(sys.argv) > 1 else "workspace"))
    blocks = []
    for kind in ("ct", "mri"):
        opened = prepare(workspace, kind)
        methods = dict(trained(workspace, kind))
        found = list(cases(workspace, opened))
        rows, shown = {}, {}
        for name, (learned, method) in methods.items():
            estimates = [reconstruct(method, case) for case in found]
            rows[name] = Row(learned, np.array([*map(scores, estimates, found)]))
            shown[name] = estimates[len(found) // 2]
        path = PAGE.parent / f"medical-slices-{kind}.png"
        window = opened.window
        medical_pictures.beside(shown, found[len(found) // 2].truth, window, WINDOWS[kind], path)
        words = f"a slice of {kind}-slices, its reconstructions and their errors, by method"
        blocks += [table(kind, rows, found), f"![{words}]({path.name})"]
    pages.put(PAGE, BEGIN, END, "\n\n".join(blocks))


def prepare(workspace: Workspace, kind: str) -> Challenge:
    """The challenge of the slices, made where it is not there."""
    name = f"{kind}-slices"
    folder, public = workspace.path / "slices" / kind, workspace.public(name)
    if not public.config.exists():
        for split, number, values in slices_of(kind):
            path = folder / split / f"{number:03}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values.astype(np.float32))
        paths = ", ".join(f"{split}: {folder.resolve() / split}" for split in CT)
        held = {split: len(CT[split] if kind == "ct" else AXIAL[split]) for split in CT}
        images = (
            f"images={{source: slices, path: {{{paths}}}, size: {SIZE}, patients: file, "
            f"val: {held['val']}, test: {held['test']}, values: {VALUES[kind]}"
            f"{', mode: complex' if kind == 'mri' else ''}}}"
        )
        challenge("prepare", kind, f"name={name}", images, "--workspace", str(workspace.path))
    return open_challenge(public.path)


def slices_of(kind: str) -> Iterator[tuple[str, int, Field]]:
    """Split, number and values of every slice, shrunk; in HU, and of the template in its units."""
    if kind == "ct":
        for split, files in CT.items():
            for number, place in enumerate(files.values()):
                values = slice_files.read(_installed(*place)).values
                yield split, number, _shrunk(values, max(1, len(values) // SIZE))
        return
    # Without nilearn's own import, which takes packages that nothing here needs.
    volume = np.asarray(importlib.import_module("nibabel").load(_installed(*TEMPLATE)).dataobj)
    for split, chosen in AXIAL.items():
        for number in chosen:
            yield split, number, _shrunk(np.rot90(volume[:, :, number]).astype(float), 2)


def _installed(package: str, file: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed; see the head of {__file__}")
    return Path(found.origin).parent / file


def _shrunk(values: Field, n: int) -> Field:
    height, width = (side // n for side in values.shape)
    found: Field = values[: height * n, : width * n].reshape(height, n, width, n).mean((1, 3))
    return found


def trained(workspace: Workspace, kind: str) -> Iterator[tuple[str, tuple[str, Method]]]:
    """Methods by name, each with what it learned on."""
    for run, settings in RUNS[kind].items():
        learn(workspace, f"{kind}-slices", run, settings)
        learned = "" if len(settings) == 1 else "slices"
        yield run, (learned, load(layout.run(workspace, f"{kind}-slices", run).path))
    phantoms = layout.run(workspace, kind, PHANTOMS[kind])
    if finished(phantoms):
        yield PHANTOMS[kind].removeprefix(f"{kind}-"), ("phantoms", load(phantoms.path))


def cases(workspace: Workspace, opened: Challenge) -> Iterator[Case]:
    """All of val and of test."""
    for identity in opened.ids("val"):
        yield Case("head", opened.measurement("val", identity), opened.truth(identity))
    hidden = workspace.hidden(opened.config.name)
    for identity in hidden.ids():
        truth = to_unit(stored(hidden.image(identity)))
        yield Case("abdomen", read(hidden.measurement(identity)), truth)


@torch.no_grad()
def reconstruct(method: Method, case: Case) -> NDArray[np.float32]:
    """x_hat, shape (C, H, W)."""
    torch.manual_seed(0)
    found: NDArray[np.float32] = method(*tensors(case.measurement))[0].numpy()
    return found


def scores(estimate: NDArray[np.float32], case: Case) -> list[float]:
    """PSNR in dB, SSIM and NMSE."""
    return [metric(estimate=estimate, truth=case.truth) for metric in (psnr, ssim, nmse)]


def table(kind: str, rows: dict[str, Row], found: list[Case]) -> str:
    """A line each method, the linear one first."""
    by_slice = [case.name for case in found] if kind == "ct" else []
    lines = [
        f"| `{kind}-slices` | PSNR (dB) | over the linear one | over TV | SSIM | NMSE |"
        f"{''.join(f' {each} |' for each in by_slice)} learned on |",
        "|---" * (7 + len(by_slice)) + "|",
    ]
    linear, tv = next(iter(rows.values())).scores.mean(0)[0], rows["tv"].scores.mean(0)[0]
    for name, row in rows.items():
        level, similarity, error = row.scores.mean(0)
        each = "".join(f" {one:.2f} |" for one in row.scores[:, 0]) if by_slice else ""
        lines.append(
            f"| `{name}` | {level:.2f} | {level - linear:+.2f} | "
            f"{level - tv:+.2f} | {similarity:.3f} | {error:.4f} |{each} {row.learned} |"
        )
    what = {
        "ct": f"Two CT slices of pydicom-data, the mean of 4x4 pixels, {SIZE}x{SIZE}; the range of "
        "scores, 0 to 1, is -1000 to 1000 HU. `tv` has its weight from two other slices",
        "mri": f"{len(found)} axial slices of the MNI152 T1 template, 2 mm a pixel, with a smooth "
        "random phase; the range of scores, 0 to 1, is 0 to 255. `tv` has its weight "
        f"from {len(AXIAL['train'])} others of the template, below these",
    }[kind]
    return "\n".join(lines) + f"\n\n{what}. In the picture black to white is {WINDOWS[kind]}."


if __name__ == "__main__":
    main()
