"""An entry in half precision: rounded, tried on val as it was and as it is, and packed.

Both times the judge's own code reconstructs, one image at a time, on this machine, so that they
differ in the weights alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.data.challenges.challenge import Challenge
from challenge.submissions import scratch
from challenge.submissions.entries import half_precision, pack
from challenge.submissions.entries.manifest import Half, Rounded, Training
from challenge.submissions.entries.teams import Teams
from challenge.submissions.inference.supervisor import Step
from challenge.submissions.jail.levels import Level
from challenge.submissions.jail.spawn import Jail
from challenge.submissions.judging import trial
from challenge.submissions.layout import Run
from challenge.submissions.runs import storage
from challenge.submissions.runs.facts import write_facts

DIGITS = 4
"""Of a PSNR in dB: a tenth of a thousandth is less than another processor makes."""
OnStep = Callable[[str, Step], None]


def pack_rounded(
    run: Run,
    dtype: Half,
    team: str,
    target: Path,
    challenge: Challenge,
    teams: Teams | None,
    *,
    training: Training | None = None,
    rounded: Rounded | None = None,
    level: Level | None = None,
    progress: OnStep | None = None,
) -> Rounded | None:
    """Pack a finished run with weights in half precision; what that changes is in the manifest.

    Where its weights are in half precision already, it is packed as it is. This runs the team's
    code, in the jail.

    Args:
        run: finished, of this challenge; it stays as it is.
        dtype: of the weights in the entry.
        target: as in `pack.pack`, with `challenge`, `teams` and `training`.
        rounded: what was measured when the weights were rounded before.
        level: of isolation; the strongest that holds here by default.
        progress: called after each reconstruction, with the weights that made it.

    Returns:
        What was measured; None where there was nothing to round.

    Raises:
        UserError: a value is beyond the type's range; the method fails on val, or val is empty;
            with every problem of the entry. Nothing is written then.
    """
    record = storage.finished(run, challenge)
    if not half_precision.is_worth_it(half_precision.read_tensors(run.weights)):
        pack.pack(run, team, target, challenge, teams, training=training, rounded=rounded)
        return None
    images = len(challenge.ids("val"))
    if not images:
        raise _cannot(dtype, f"`{challenge.config.name}` has no val images")
    with scratch.folder("rounded") as folder:
        plain, half = Run(folder / "before"), Run(folder / "after")
        pack.copy_entry_files(run, plain.path)
        shutil.copytree(plain.path, half.path)
        half_precision.round_file(half.weights, dtype)
        write_facts(half, record)

        def write(where: Path, found: Rounded) -> None:
            pack.pack(half, team, where, challenge, teams, training=training, rounded=found)

        # Every problem of the entry is said before val is reconstructed, which takes a while.
        nothing = Rounded(dtype=dtype, images=images, psnr_before=0.0, psnr_after=0.0)
        write(folder / "entry" / target.name, nothing)
        jail = trial.jail_of(challenge, level)
        psnr = [
            _psnr(each, dtype, name, challenge, jail, progress)
            for each, name in ((plain, "as trained"), (half, dtype))
        ]
        found = Rounded(dtype=dtype, images=images, psnr_before=psnr[0], psnr_after=psnr[1])
        write(target, found)
    return found


def _psnr(
    entry: Run, dtype: Half, name: str, challenge: Challenge, jail: Jail, progress: OnStep | None
) -> float:
    """Mean PSNR in dB over val, of an unpacked entry."""
    step = None if progress is None else lambda done: progress(name, done)
    output = entry.path.with_name(f"{entry.path.name}-val")
    inference = trial.infer_folder(entry.path, output, challenge, jail, progress=step)
    if inference.outcome != "ok":
        raise _cannot(dtype, f"val ends with {inference.outcome}, {name}: {inference.cause}")
    scores = trial.score_val(output, challenge)
    if scores.psnr is None:
        cause = scores.failure.cause if scores.failure else "it has no scores"
        raise _cannot(dtype, f"val has no PSNR, {name}: {cause}")
    return round(scores.psnr.mean, DIGITS)


def _cannot(dtype: Half, cause: str) -> UserError:
    return UserError.of(
        f"--dtype {dtype}",
        f"what rounding changes cannot be measured: {cause}",
        "leave `--dtype` out; `challenge check ENTRY --run` then tells more",
    )
