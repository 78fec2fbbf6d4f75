"""Kernels from numpy and MATLAB files, as stored, without unpickling."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io

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
    "array", [np.zeros(5), np.array(["a"]), np.zeros((3, 3), dtype=complex)], ids=str
)
def test_what_holds_no_kernel_is_refused(tmp_path, array):
    np.save(tmp_path / "k.npy", array)
    with pytest.raises(UserError, match=r"k\.npy: holds no kernels; store one 2-D array"):
        kernel_files.read(tmp_path / "k.npy")


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
    with pytest.raises(UserError, match=r"is no kernel file; use one of .npy, .npz, .mat"):
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
