"""The ends of the spectrum of A^T A, against the matrix of every operator family."""

import pytest
import torch

from challenge.methods.contract_test import COLOURED, toy_images, toy_problem
from challenge.methods.solvers.curvature import curvature

OPERATORS = [(kind, None) for kind in COLOURED]
OPERATORS += [("mri", None), ("blur", "valid"), ("blur", "reflect"), ("downsampling", "reflect")]
HEIGHT, WIDTH = 24, 16


@pytest.mark.parametrize(("operator", "boundary"), OPERATORS)
def test_the_ends_are_those_of_the_matrix(operator, boundary):
    problem = toy_problem(boundary=boundary, operator=operator)
    channels = problem.channels
    x = toy_images(1, channels)[0][None, :, :HEIGHT, :WIDTH]
    _, physics = problem.measure(x, [0])
    found = curvature(physics, x)
    # Colours are treated alike: one channel of images makes the matrix. Of complex ones both do.
    parts = 2 if channels == 2 else 1
    unit = torch.eye(parts * HEIGHT * WIDTH).reshape(-1, parts, HEIGHT, WIDTH)
    unit = unit.repeat(1, channels // parts, 1, 1)
    columns = torch.cat([physics.A(each)[:, :parts].flatten(1) for each in unit.split(1)])
    values = torch.linalg.eigvalsh(columns.double() @ columns.double().mT)
    assert found.largest == pytest.approx(float(values[-1]), rel=1e-3)
    if found.exact:
        assert found.mu == pytest.approx(float(values[0]), abs=1e-5)
    else:
        assert found.mu >= float(values[0]) - 1e-5
        assert found.largest <= float(values[-1]) * (1 + 1e-5)
