"""Kernels from numpy and MATLAB files, as stored, without unpickling."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from challenge.configs.errors import UserError
from challenge.configs.schema.physics import FileKernel
from challenge.data.physics import kernel_files, kernels

RNG = np.random.default_rng(0)
ONE = RNG.random((5, 7))
THREE = [RNG.random((side, side)) for side in (3, 7, 5)]
STACK = RNG.random((4, 5, 5))


def write_v73(path, **variables):
    """A MATLAB v7.3 file: arrays with reversed axes, cells as references into `#refs#`."""
    with h5py.File(path, "w") as file:
        refs = file.create_group("#refs#")
        for name, value in variables.items():
            if isinstance(value, list):
                cell = np.empty((len(value), 1), dtype=h5py.ref_dtype)
                for index, member in enumerate(value):
                    cell[index, 0] = refs.create_dataset(f"{name}{index}", data=member.T).ref
                file.create_dataset(name, data=cell, dtype=h5py.ref_dtype)
            else:
                file.create_dataset(name, data=value.T)
        file.create_dataset("comment", data=np.frombuffer(b"h\0i\0", dtype="<u2")[:, None])


def write_v5(path, **variables):
    scipy.io.savemat(path, {name: cell(value) for name, value in variables.items()})


def cell(value):
    if not isinstance(value, list):
        return value
    array = np.empty((1, len(value)), dtype=object)
    for index, member in enumerate(value):
        array[0, index] = member
    return array


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float64
        assert np.array_equal(one, other)


@pytest.mark.parametrize("write", [write_v5, write_v73])
class TestMatlab:
    def test_one_array(self, tmp_path, write):
        write(tmp_path / "k.mat", psf=ONE)
        same(kernel_files.read(tmp_path / "k.mat"), [ONE])

    def test_a_cell_of_sizes(self, tmp_path, write):
        write(tmp_path / "k.mat", data=THREE)
        same(kernel_files.read(tmp_path / "k.mat"), THREE)

    def test_the_last_axis_counts_kernels(self, tmp_path, write):
        write(tmp_path / "k.mat", data=np.moveaxis(STACK, 0, 2))
        same(kernel_files.read(tmp_path / "k.mat"), list(STACK))

    def test_a_telling_name_is_taken(self, tmp_path, write):
        write(tmp_path / "k.mat", image=RNG.random((9, 9)), kernels=THREE)
        same(kernel_files.read(tmp_path / "k.mat"), THREE)

    def test_several_without_a_telling_name_are_refused(self, tmp_path, write):
        write(tmp_path / "k.mat", one=ONE, two=ONE)
        with pytest.raises(UserError, match="several arrays: `one`, `two`; name one of them"):
            kernel_files.read(tmp_path / "k.mat")

    def test_numbers_and_text_are_passed_over(self, tmp_path, write):
        write(tmp_path / "k.mat", count=np.array([[3.0]]), psf=ONE)
        same(kernel_files.read(tmp_path / "k.mat"), [ONE])

    def test_a_cut_file_is_refused(self, tmp_path, write):
        write(tmp_path / "k.mat", psf=RNG.random((40, 40)))
        content = (tmp_path / "k.mat").read_bytes()
        (tmp_path / "k.mat").write_bytes(content[: len(content) // 2])
        with pytest.raises(UserError, match=r"k\.mat: cannot be read"):
            kernel_files.read(tmp_path / "k.mat")


def test_npy(tmp_path):
    np.save(tmp_path / "one.npy", ONE.astype(np.float32))
    same(kernel_files.read(tmp_path / "one.npy"), [ONE.astype(np.float32).astype(np.float64)])
    np.save(tmp_path / "stack.npy", STACK)
    same(kernel_files.read(tmp_path / "stack.npy"), list(STACK))
    np.save(tmp_path / "torch.npy", STACK[:, None])
    same(kernel_files.read(tmp_path / "torch.npy"), list(STACK))
    np.save(tmp_path / "whole.npy", np.arange(9).reshape(3, 3))
    same(kernel_files.read(tmp_path / "whole.npy"), [np.arange(9.0).reshape(3, 3)])


def test_npz(tmp_path):
    np.savez(tmp_path / "k.npz", std=1.6, kernel=ONE)
    same(kernel_files.read(tmp_path / "k.npz"), [ONE])


@pytest.mark.parametrize(
    "array",
    [np.zeros(1), np.zeros((1, 1)), np.array(["a"]), np.zeros((3, 3), dtype=complex)],
    ids=str,
)
def test_what_holds_no_kernel_is_refused(tmp_path, array):
    np.save(tmp_path / "k.npy", array)
    with pytest.raises(UserError) as caught:
        kernel_files.read(tmp_path / "k.npy")
    described = f"({array.dtype} {array.shape})"
    assert f"k.npy: holds no kernels, only `kernels` {described}; store one 2-D" in str(
        caught.value
    )


def write_npy(path, kernels):
    np.save(path.with_suffix(".npy"), kernels)
    return path.with_suffix(".npy")


def write_npz(path, kernels):
    np.savez(path.with_suffix(".npz"), kernels=kernels)
    return path.with_suffix(".npz")


def write_mat5(path, kernels):
    write_v5(path.with_suffix(".mat"), kernels=kernels)
    return path.with_suffix(".mat")


def write_mat73(path, kernels):
    write_v73(path.with_suffix(".mat"), kernels=kernels)
    return path.with_suffix(".mat")


WRITERS = [write_npy, write_npz, write_mat5, write_mat73]
NINE = RNG.random((9, 5, 5))
THREE_OF_5 = RNG.random((3, 5, 5))
COLUMN = RNG.random((15, 1))
READ = {
    "N first": (NINE, list(NINE)),
    "N last": (np.moveaxis(NINE, 0, -1), list(NINE)),
    "N between": (np.moveaxis(NINE, 0, 1), list(NINE)),
    "three last": (np.moveaxis(THREE_OF_5, 0, -1), list(THREE_OF_5)),
    "one last": (NINE[0][..., None], [NINE[0]]),
    "one first": (NINE[:1], [NINE[0]]),
    "torch": (NINE[:, None], list(NINE)),
    "MATLAB's filters": (np.moveaxis(NINE, 0, -1)[:, :, None], list(NINE)),
    "oblong": (RNG.random((5, 7)), None),
    "row": (COLUMN.T, None),
    "column": (COLUMN, None),
    "row among axes": (COLUMN.T[None], [COLUMN.T]),
    "column among axes": (COLUMN[..., None], [COLUMN]),
}
REFUSED = {
    "cube": np.ones((5, 5, 5)),
    "three of 3x3": np.ones((3, 3, 3)),
    "oblong ones": np.ones((4, 5, 7)),
    "colours and kernels": np.ones((9, 3, 5, 5)),
    "a side of rows": np.ones((15, 1, 15)),
    "one oblong": np.ones((1, 5, 7)),
    "a row within": np.ones((1, 15, 1)),
}


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", READ)
def test_the_only_square_pair_of_axes_is_that_of_the_kernels(tmp_path, write, name):
    stored, expected = READ[name]
    notices: list[str] = []
    path = write(tmp_path / "k", stored)
    same(kernel_files.read(path, notices.append), [stored] if expected is None else expected)
    unusual = name in ("N last", "N between", "three last", "MATLAB's filters")
    assert len(notices) == unusual
    assert all(f"is taken for {len(expected)} kernels of 5x5" in notice for notice in notices)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", REFUSED)
def test_axes_that_may_mean_several_things_are_refused(tmp_path, write, name):
    path = write(tmp_path / "k", REFUSED[name])
    with pytest.raises(UserError) as caught:
        kernel_files.read(path)
    (mistake,) = caught.value.mistakes
    assert str(REFUSED[name].shape)[:-3] in mistake.cause  # MATLAB drops a last axis of 1
    assert "np.savez(path, *kernels)" in mistake.remedy
    np.savez(tmp_path / "each.npz", *THREE)  # the remedy
    same(kernel_files.read(tmp_path / "each.npz"), THREE)


def test_a_vector_says_which_way_it_lies(tmp_path):
    np.save(tmp_path / "k.npy", np.ones(15))
    with pytest.raises(UserError, match=r"has shape \(15,\), which may be a row \(1, k\) or a col"):
        kernel_files.read(tmp_path / "k.npy")


def test_a_row_of_numbers_beside_kernels_is_none(tmp_path):
    np.savez(tmp_path / "k.npz", blurs=NINE, sigmas=np.ones((1, 9)), names=np.array(["a"]))
    same(kernel_files.read(tmp_path / "k.npz"), list(NINE))


@pytest.mark.parametrize("shape", [(1, 15), (15, 1), (1, 4), (2, 9), (9, 9, 1), (6, 6)])
def test_every_shape_becomes_square_and_odd(tmp_path, shape):
    np.save(tmp_path / "k.npy", np.full(shape, 1 / np.prod(shape)))
    stack = kernels.build(FileKernel(file=str(tmp_path / "k.npy")), None, lambda _: None)
    side = max(3, *(length + 1 - length % 2 for length in shape[:2]))
    assert stack.shape == (1, side, side)
    assert np.count_nonzero(stack) == np.prod(shape)
    assert stack.sum() == pytest.approx(1, abs=1e-5)


DISK = np.rint(255 * np.exp(-(np.linspace(-2, 2, 9) ** 2))[:, None] * np.ones(7)).astype(np.uint8)
PICTURES = {
    "grey.png": lambda path: Image.fromarray(DISK).save(path),
    "rgb.png": lambda path: Image.fromarray(np.dstack([DISK] * 3)).save(path),
    "rgba.png": lambda path: Image.fromarray(np.dstack([DISK] * 3 + [DISK * 0 + 255])).save(path),
    "deep.png": lambda path: Image.fromarray(DISK.astype(np.uint16) * 3).save(path),
    "palette.png": lambda path: Image.fromarray(DISK).convert("P").save(path),
    "a.bmp": lambda path: Image.fromarray(DISK).save(path),
    "a.tif": lambda path: tifffile.imwrite(path, DISK.astype(np.uint16) * 257),
    "float.tif": lambda path: tifffile.imwrite(path, (DISK / 255 / DISK.sum()).astype("f4")),
    "a.pgm": lambda path: Image.fromarray(DISK).save(path),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_kernel(tmp_path, name):
    PICTURES[name](tmp_path / name)
    notices: list[str] = []
    stack = kernels.build(FileKernel(file=str(tmp_path / name)), None, notices.append)
    assert stack.shape == (1, 9, 9)
    np.testing.assert_allclose(stack[0, :, 1:-1], DISK / DISK.sum(), rtol=1e-4)
    assert notices == [f"{tmp_path / name}: a picture, read as grey and normalised"]


def test_pictures_that_are_no_kernels(tmp_path):
    notices: list[str] = []
    for name in ("a.jpg", "a.jif", "called.png"):
        Image.fromarray(DISK).save(tmp_path / name, format="JPEG")
        kernel_files.read(tmp_path / name, notices.append)
        assert notices.pop().endswith("; a JPEG file adds errors around it")
    Image.fromarray(255 - np.pad(DISK, 9)).save(tmp_path / "negative.png")
    kernel_files.read(tmp_path / "negative.png", notices.append)
    assert notices[1].endswith("brighter at its border than inside, but a kernel is white on black")
    Image.fromarray(np.dstack([DISK] * 3 + [DISK])).save(tmp_path / "clear.png")
    with pytest.raises(UserError, match="transparent parts"):
        kernel_files.read(tmp_path / "clear.png")
    Image.fromarray(DISK * 0).save(tmp_path / "black.png")
    with pytest.raises(UserError, match="the kernel sums to zero"):
        kernels.build(FileKernel(file=str(tmp_path / "black.png")), None, notices.append)
    (tmp_path / "text.png").write_text("k")
    with pytest.raises(UserError, match="is no picture of a known format"):
        kernel_files.read(tmp_path / "text.png")


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "k.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        kernel_files.read(tmp_path / "k.npy")


@pytest.mark.parametrize("name", ["k.npy", "k.npz", "k.mat"])
def test_junk_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no array")
    with pytest.raises(UserError, match="cannot be read"):
        kernel_files.read(tmp_path / name)


def test_other_suffixes_are_refused(tmp_path):
    (tmp_path / "k.csv").write_text("1")
    with pytest.raises(
        UserError, match=r"is no kernel file; use one of .npy, .npz, .mat, or a pic"
    ):
        kernel_files.read(tmp_path / "k.csv")


def test_kernels_of_several_sizes_are_padded_to_one(tmp_path):
    write_v73(tmp_path / "k.mat", kernels=THREE)
    notices: list[str] = []
    config = FileKernel(file=str(tmp_path / "k.mat"))
    stack = kernels.build(config, None, notices.append)
    assert stack.shape == (3, 7, 7)
    np.testing.assert_allclose(stack[0, 2:5, 2:5], THREE[0] / THREE[0].sum(), rtol=1e-6)
    assert notices == [f"{tmp_path / 'k.mat'}: 3 of 3 kernels do not sum to 1 and are normalised"]


def test_one_kernel_can_be_picked(tmp_path):
    np.save(tmp_path / "k.npy", STACK)
    picked = FileKernel(file=str(tmp_path / "k.npy"), pick=2)
    stack = kernels.build(picked, None, lambda _: None)
    np.testing.assert_allclose(stack[0], STACK[2] / STACK[2].sum(), rtol=1e-6)
    with pytest.raises(UserError, match="has no kernel `4`; pick one of 0 to 3"):
        kernels.build(picked.model_copy(update={"pick": 4}), None, lambda _: None)


def test_a_file_beside_the_yaml_is_found(tmp_path):
    np.save(tmp_path / "mine.npy", STACK)
    config = FileKernel(file="mine.npy")
    assert kernels.build(config, tmp_path / "c.yaml", lambda _: None).shape == (4, 5, 5)
    with pytest.raises(UserError, match=r"theirs\.npy"):
        kernels.build(FileKernel(file="theirs.npy"), tmp_path / "c.yaml", lambda _: None)


def _huge_header(path):
    with path.open("wb") as file:
        shape = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
        np.lib.format.write_array_header_1_0(file, shape)
        file.write(bytes(100))


def _huge_variable(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("k", shape=(10**7, 10**7), dtype="f8", chunks=(10, 10))


def _link_to_itself(path):
    with h5py.File(path, "w") as file:
        file["k"] = ONE
        file["a"] = h5py.SoftLink("/a")


def _cell_of_itself(path):
    with h5py.File(path, "w") as file:
        cell = file.create_dataset("k", (1, 1), dtype=h5py.ref_dtype)
        cell[0, 0] = cell.ref


def _nothing(path):
    with h5py.File(path, "w") as file:
        file["k"] = h5py.Empty("f8")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("k.npy", _huge_header),
        ("k.mat", _huge_variable),
        ("k.mat", _link_to_itself),
        ("k.mat", _cell_of_itself),
        ("k.mat", _nothing),
    ],
)
def test_what_no_reader_gets_to_its_end_is_refused(tmp_path, name, write):
    write(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read|holds no kernels"):
        kernel_files.read(tmp_path / name)
