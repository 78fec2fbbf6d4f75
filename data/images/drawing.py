"""Which photographs are drawn for val and test, and whether enough are left to train on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from challenge.configs.errors import UserError
from challenge.configs.loader import Source
from challenge.configs.schema.images import FolderImages
from challenge.data import noise
from challenge.data.layout import Split

TRAIN_LEAST = 2
"""One image to learn from and one to tune on."""
_VAL_SHARE, _TEST_SHARE = 0.1, 0.2
"""Of the photographs, in a split that is proposed."""


def draw(
    config: FolderImages,
    pools: Mapping[Split, list[Path]],
    source: Source,
    seed: int,
    left_out: int,
) -> dict[Split, list[Path]]:
    """Draw test, then val, from their own folder or else from the training photographs."""
    wanted: dict[Split, int] = {"test": config.test, "val": config.val}
    pool = list(pools["train"])
    needed = sum(count for split, count in wanted.items() if split not in pools) + TRAIN_LEAST
    if len(pool) < needed:
        parts = [f"{count} {split}" for split, count in wanted.items() if split not in pools]
        cause = f"{len(pool)} different photographs are too few, {needed} are needed"
        cause += f" ({' + '.join([*parts, f'{TRAIN_LEAST} train'])})"
        if left_out:
            cause += f", {left_out} left out"
        better = proposal(config, pools, 0)
        remedy = f"add some, or give `{better}`" if better else "add some"
        raise UserError(source.mistake(("images", "path"), cause, remedy))
    chosen: dict[Split, list[Path]] = {}
    for split, count in wanted.items():
        candidates = pools.get(split, pool)
        if not candidates:
            cause = f"the folder of {split} has only photographs that are elsewhere, too"
            raise UserError(source.mistake(("images", "path", split), cause, "give others"))
        order = noise.generator(seed, "split", split).permutation(len(candidates))
        chosen[split] = [candidates[index] for index in sorted(order[:count])]
        if split not in pools:
            pool = [file for file in pool if file not in set(chosen[split])]
    return {**chosen, "train": pool}


def proposal(config: FolderImages, pools: Mapping[Split, list[Path]], train: int) -> str:
    """Settings that leave most of the photographs to train on, where they do not now."""
    wanted: dict[Split, tuple[int, float]] = {
        "val": (config.val, _VAL_SHARE),
        "test": (config.test, _TEST_SHARE),
    }
    total = len(pools["train"])
    drawn = {split: count for split, count in wanted.items() if split not in pools}
    if 2 * train >= total or total < TRAIN_LEAST + len(drawn):
        return ""
    given = {
        split: min(count, max(1, round(share * total))) for split, (count, share) in drawn.items()
    }
    return " ".join(f"images.{split}={count}" for split, count in given.items())
