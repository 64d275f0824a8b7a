import math

import pytest
import torch

import orthornn
from orthornn.init import INITIALIZERS
from orthornn.linalg import orthogonality_error

NAMES = sorted(INITIALIZERS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(6, 6), (7, 7), (1, 1), (3, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_initial_points_are_orthogonal_and_filled_in_place(name, shape, dtype):
    x = torch.empty(shape, dtype=dtype)
    assert INITIALIZERS[name](x) is x
    assert orthogonality_error(x).max() < 10 * shape[-1] * torch.finfo(dtype).eps
    assert x.is_contiguous()


@pytest.mark.parametrize("name", ["haar", "henaff", "cayley"])
def test_generator_decides_the_draw(name):
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return INITIALIZERS[name](torch.empty(6, 6), generator=generator)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_haar_has_the_moments_of_the_uniform_measure():
    x = orthornn.haar_(torch.empty(20_000, 3, 3, dtype=torch.float64))
    trace = x.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert trace.mean().abs() < 0.03  # LAPACK's own signs give -0.83
    assert trace.square().mean() == pytest.approx(1.0, abs=0.04)
    assert torch.linalg.det(x).mean().abs() < 0.03


@pytest.mark.parametrize("shape", [(5, 2), (2, 5)])
def test_haar_of_a_rectangle_is_orthonormal_along_its_short_side(shape):
    assert orthogonality_error(orthornn.haar_(torch.empty(shape))) < 1e-5


def angles(x):
    return torch.linalg.eigvals(x).angle()


def test_henaff_angles_are_uniform_on_the_whole_circle():
    found = angles(orthornn.henaff_(torch.empty(40, 50, 50, dtype=torch.float64)))
    for limit in (0.25, 0.5, 0.75):
        share = (found.abs() < limit * math.pi).double().mean()
        assert share == pytest.approx(limit, abs=0.05)


def test_cayley_angles_are_uniform_on_the_quarter_circle():
    found = angles(orthornn.cayley_(torch.empty(40, 50, 50, dtype=torch.float64))).abs()
    assert found.max() <= math.pi / 2
    assert (found < math.pi / 4).double().mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["henaff", "cayley", "identity"])
@pytest.mark.parametrize("n", [4, 5])
def test_block_initializers_stay_in_the_component_of_the_identity(name, n):
    x = INITIALIZERS[name](torch.empty(n, n, dtype=torch.float64))
    assert torch.linalg.det(x) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["henaff", "cayley"])
def test_block_initializers_refuse_what_is_not_square(name):
    with pytest.raises(ValueError, match=r"square tensor.*got \(3, 4\)"):
        INITIALIZERS[name](torch.empty(3, 4))


@pytest.mark.parametrize("name", NAMES)
def test_initializers_refuse_a_vector(name):
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        INITIALIZERS[name](torch.empty(3))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("n", [4, 5])
def test_the_component_can_be_chosen(name, determinant, n):
    x = INITIALIZERS[name](torch.empty(30, n, n, dtype=torch.float64), determinant=determinant)
    assert torch.linalg.det(x).round().unique().tolist() == [determinant]
    assert orthogonality_error(x).max() < 1e-13


def test_haar_with_a_determinant_is_uniform_on_that_component():
    x = orthornn.haar_(torch.empty(20_000, 3, 3, dtype=torch.float64), determinant=1)
    trace = x.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert trace.mean().abs() < 0.03  # the mean of SO(3)'s character is 0, of its square 1
    assert trace.square().mean() == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("name", ["haar", "identity"])
def test_a_determinant_needs_a_square_matrix(name):
    x = torch.full((5, 3), 7.0)
    with pytest.raises(ValueError, match=r"determinant needs a square .*got \(5, 3\)"):
        INITIALIZERS[name](x, determinant=1)
    assert (x == 7).all()  # refused before it is overwritten


def test_a_determinant_is_one_or_minus_one():
    with pytest.raises(ValueError, match=r"determinant must be one of \[1, -1, None\], got 0"):
        orthornn.haar_(torch.empty(3, 3), determinant=0)
