"""The seal: a published digest of what stays hidden, so that nobody can change it unseen.

    seal = SHA-256(canonical JSON of {salt, metric,
                   SHA-256 of each true image, of each measurement and of the key})

Format 1, of older toolkits, leaves the measurements out, which the public manifest covers there.

The salt, 32 random bytes, keeps a team from testing guesses of the truth against the seal. On the
last day the organiser publishes the hidden folder, without `sources.json`, which names files of the
organiser's and maybe patients, and everybody recomputes the seal. Free of torch.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from challenge.configs import loader
from challenge.configs.errors import Mistake, UserError
from challenge.data import reading
from challenge.data.challenges.challenge import read_manifest
from challenge.data.hashing import canonical_json, digest, digest_json
from challenge.data.layout import Hidden, Public

FORMAT = 2

METRIC: dict[str, Any] = {"name": "psnr-ssim", "version": 1}
"""What `submissions.scoring.metrics` computes; a new version breaks old seals."""

_REMEDY = "the hidden folder is not the one that was sealed; restore it from a copy"


def make(hidden: Hidden, crop: int) -> dict[str, Any]:
    """The content of `seal.json` for a complete hidden folder; `["seal"]` is to be published.

    Args:
        crop: pixels that the metric leaves out at every side.
    """
    parts = {
        "format": FORMAT,
        "salt": secrets.token_hex(32),
        "images": _images(hidden),
        "measurements": _measurements(hidden),
        "key": digest(hidden.key),
        "metric": {**METRIC, "crop": crop},
    }
    return {**parts, "seal": digest_json(parts)}


def verify(public: Public, hidden: Hidden) -> str:
    """Recompute the seal from the files and compare it with the published one.

    Returns:
        The seal, 64 hex digits.

    Raises:
        UserError: names every file, or the metric, that is not as it was sealed.
    """
    record = read(hidden)
    if record["seal"] != (published := read_manifest(public)["seal"]):
        # Of another challenge, or another preparation: each of its files would be told of.
        cause = f"has seal `{record['seal'][:16]}`, published is `{published[:16]}`"
        raise UserError.of(hidden.seal, cause, _REMEDY)
    config, _ = loader.load_challenge(str(public.config))
    mistakes = [
        *_compare(_images(hidden), record["images"], hidden.image),
        *_compare(_measurements(hidden), record.get("measurements", {}), hidden.measurement),
        *_compare_key(hidden, record["key"]),
        *_compare_metric(public, {**METRIC, "crop": config.metric.crop}, record["metric"]),
    ]
    parts = {name: value for name, value in record.items() if name != "seal"}
    if digest_json(parts) != record["seal"]:
        mistakes.append(Mistake(str(hidden.seal), "does not hash to its own seal", _REMEDY))
    if mistakes:
        raise UserError(*mistakes)
    seal: str = record["seal"]
    return seal


def read(hidden: Hidden) -> dict[str, Any]:
    """The record in `seal.json`; raises `UserError` if it is missing or damaged."""
    if not hidden.seal.is_file():
        raise UserError.of(
            hidden.path, "is not the hidden folder of a challenge", "give workspace/hidden/NAME"
        )
    try:
        record = json.loads(reading.bounded(hidden.seal))
        kinds = {"format": int, "salt": str, "images": dict, "key": str, "metric": dict}
        if record["format"] not in (1, FORMAT):
            raise UserError.of(
                hidden.seal,
                f"has format `{record['format']}`, this toolkit reads format `{FORMAT}`",
                "install the toolkit's version that prepared it",
            )
        if record["format"] == FORMAT:
            kinds["measurements"] = dict
        if not all(isinstance(record[name], kind) for name, kind in {**kinds, "seal": str}.items()):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError.of(hidden.seal, "is damaged", _REMEDY) from None
    checked: dict[str, Any] = record
    return checked


def _images(hidden: Hidden) -> dict[str, str]:
    return {identity: digest(hidden.image(identity)) for identity in hidden.ids()}


def _measurements(hidden: Hidden) -> dict[str, str]:
    return {identity: digest(hidden.measurement(identity)) for identity in hidden.measured()}


def _compare(
    found: dict[str, str], sealed: dict[str, str], place: Callable[[str], Path]
) -> list[Mistake]:
    causes = {
        **{name: "is missing" for name in sealed.keys() - found.keys()},
        **{name: "was not sealed" for name in found.keys() - sealed.keys()},
        **{
            name: "was changed"
            for name in sealed.keys() & found.keys()
            if found[name] != sealed[name]
        },
    }
    return [Mistake(str(place(name)), causes[name], _REMEDY) for name in sorted(causes)]


def _compare_key(hidden: Hidden, sealed: str) -> list[Mistake]:
    if not hidden.key.is_file():
        return [Mistake(str(hidden.key), "is missing", _REMEDY)]
    changed = digest(hidden.key) != sealed
    return [Mistake(str(hidden.key), "was changed", _REMEDY)] if changed else []


def _compare_metric(public: Public, found: Any, sealed: Any) -> list[Mistake]:
    if found == sealed:
        return []
    place: Path = public.config
    cause = f"the metric is `{canonical_json(found)}`, sealed was `{canonical_json(sealed)}`"
    return [
        Mistake(str(place), cause, "use the toolkit and the `metric:` section it was sealed with")
    ]
