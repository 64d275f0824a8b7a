"""geoopt's interface: options, checks, components, equality, and geoopt's own optimizers."""

import copy
import pickle

import geoopt
import pytest
import torch

from orthornn import OrthoRNN, RiemannianAdam, SpecialOrthogonal, Stiefel
from orthornn.linalg import orthogonality_error
from orthornn.manifolds.metrics import METRICS
from orthornn.manifolds.retractions import RETRACTIONS

every_metric = pytest.mark.parametrize("metric", sorted(METRICS))


def point(shape, dtype=torch.float64):
    return Stiefel().random(*shape, dtype=dtype).data


def tangent(x):
    u = Stiefel().proju(x, torch.randn_like(x))
    return u / torch.linalg.matrix_norm(u, keepdim=True)


@pytest.mark.parametrize("shape", [(6, 6), (7, 3), (3, 7), (2, 5, 5), (3, 6, 2), (2, 2, 6)])
def test_projx_is_the_nearest_point(shape):
    manifold = Stiefel()
    m = point(shape) + 0.1 * torch.randn(shape, dtype=torch.float64)
    y = manifold.projx(m)
    manifold.assert_check_point_on_manifold(y, atol=1e-13)
    nearest = torch.linalg.matrix_norm(m - y)
    for _ in range(20):
        other = manifold.retr(y, 0.05 * tangent(y))
        assert (torch.linalg.matrix_norm(m - other) >= nearest - 1e-12).all()


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("n", [4, 5])
def test_projx_is_the_nearest_point_of_the_component(determinant, n):
    manifold = Stiefel(determinant=determinant)
    m = torch.randn(30, n, n, dtype=torch.float64)  # both signs occur
    y = manifold.projx(m)
    manifold.assert_check_point_on_manifold(y, atol=1e-12)
    nearest = torch.linalg.matrix_norm(m - y)
    for _ in range(20):
        other = manifold.retr(y, 0.05 * tangent(y))
        assert (torch.linalg.matrix_norm(m - other) >= nearest - 1e-12).all()


@pytest.mark.parametrize("determinant", [1, -1])
def test_a_component_can_be_chosen_and_is_checked(determinant):
    manifold = Stiefel(determinant=determinant)
    x = manifold.random(50, 5, 5, dtype=torch.float64)
    assert torch.linalg.det(x.data).round().unique().tolist() == [determinant]
    assert torch.linalg.det(manifold.origin(4, 4).data).item() == determinant
    other = Stiefel(determinant=-determinant)
    with pytest.raises(ValueError, match=f"det x must be {-determinant}, got {determinant}"):
        other.assert_check_point_on_manifold(x)
    with pytest.raises(ValueError, match=r"must be square .* got \(5, 3\)"):
        manifold.random(5, 3)


def test_special_orthogonal_is_the_component_of_rotations():
    manifold = SpecialOrthogonal("qr", metric="canonical")
    assert torch.linalg.det(manifold.random(20, 3, 3).data).round().unique().tolist() == [1]
    assert manifold == Stiefel("qr", metric="canonical", determinant=1)
    assert "SpecialOrthogonal" in repr(manifold)


def test_checks_say_by_how_much():
    with pytest.raises(ValueError, match=r"‖xᵀx - I‖ = 6\.0e\+00 > 2\.0e-05"):
        Stiefel().assert_check_point_on_manifold(2 * torch.eye(4))
    with pytest.raises(ValueError, match=r"‖xxᵀ - I‖ = 6\.0e\+00 > 2\.0e-05"):
        Stiefel().assert_check_point_on_manifold(2 * torch.eye(4, 6))
    with pytest.raises(ValueError, match=r"‖xᵀu \+ uᵀx‖ = 4\.0e\+00 > 2\.0e-05"):
        Stiefel().assert_check_vector_on_tangent(torch.eye(4), torch.eye(4))
    with pytest.raises(ValueError, match=r"‖xuᵀ \+ uxᵀ‖ = 2\.8e\+00"):
        Stiefel().assert_check_vector_on_tangent(torch.eye(2, 4), torch.eye(2, 4))
    with pytest.raises(ValueError, match=r"\(\.\.\., n, p\), got \(3,\)"):
        geoopt.ManifoldParameter(torch.zeros(3), manifold=Stiefel())


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float16, torch.bfloat16, torch.int64])
def test_other_dtypes_are_refused_by_name(dtype):
    x = torch.eye(3).to(dtype)
    with pytest.raises(ValueError, match=f"got {dtype}"):
        geoopt.ManifoldParameter(x, manifold=Stiefel(), requires_grad=False)
    with pytest.raises(ValueError, match=f"got {dtype}"):
        Stiefel().assert_check_point_on_manifold(x)
    assert not Stiefel().check_point(x)
    assert str(dtype) in Stiefel().check_point_on_manifold(x, explain=True)[1]


@pytest.mark.parametrize("n", [16, 512])
def test_an_exact_point_in_float32_passes_the_check_at_any_size(n):
    x = Stiefel().random(n, n)
    Stiefel().assert_check_point_on_manifold(x)
    Stiefel().assert_check_vector_on_tangent(x, Stiefel().proju(x, torch.randn(n, n)))


def test_each_member_of_a_batch_is_checked_by_its_own_size():
    x = torch.eye(3).repeat(2, 1, 1)
    u = torch.zeros(2, 3, 3)
    u[0, 0, 1], u[0, 1, 0] = 1e6, -1e6  # tangent and large
    u[1] = torch.eye(3)  # not tangent
    assert not Stiefel().check_vector_on_tangent(x, u)
    assert Stiefel().check_vector_on_tangent(x[0], u[0])
    assert not Stiefel().check_vector_on_tangent(torch.eye(4), 1e25 * torch.randn(4, 4))
    assert not Stiefel().check_vector_on_tangent(torch.eye(4), torch.full((4, 4), torch.nan))
    assert not Stiefel().check_point_on_manifold(torch.full((4, 4), torch.nan))
    assert Stiefel().check_point_on_manifold(torch.empty(0, 3, 3))


@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
def test_autocast_does_not_round_a_point(retraction):
    x = point((16, 16), torch.float32)
    u = 0.1 * tangent(x)
    expected = Stiefel(retraction).retr(x, u)
    with torch.autocast("cpu", torch.bfloat16):
        y = Stiefel(retraction).retr(x, u)
    assert torch.equal(y, expected)


def test_the_projections_know_shapes_on_the_meta_device():
    x = torch.empty(5, 3, device="meta")
    assert Stiefel().proju(x, x).shape == (5, 3)
    assert Stiefel(metric="canonical").egrad2rgrad(x, x).is_meta


def test_an_heir_with_mathematics_of_its_own_is_another_manifold_and_is_obeyed():
    class Lazy(Stiefel):
        def retr(self, x, u):
            return x

    assert Lazy() != Stiefel()
    assert Lazy() == Lazy()
    x = geoopt.ManifoldParameter(torch.eye(4), manifold=Lazy())
    x.grad = torch.randn(4, 4)
    RiemannianAdam([x], lr=0.1).step()
    assert torch.equal(x.data, torch.eye(4))


def test_random_is_a_contiguous_point_and_obeys_its_generator():
    for shape in ((5, 3), (3, 5), (4, 4)):
        draws = [
            Stiefel().random(shape, generator=torch.Generator().manual_seed(3)) for _ in range(2)
        ]
        assert torch.equal(*draws)
        assert draws[0].is_contiguous()
        assert draws[0].manifold.check_point_on_manifold(draws[0])
    assert torch.equal(Stiefel().origin((4, 2)).data, torch.eye(4, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retraction": "qrr"}, r"retraction must be one of \['cayley', .*'svd'\], got 'qrr'"),
        ({"metric": "riemann"}, r"metric must be one of \['canonical', 'euclidean'\], got 'rie"),
        ({"determinant": 2}, r"determinant must be one of \[1, -1, None\], got 2"),
        ({"determinant": True}, r"determinant must be one of \[1, -1, None\], got True"),
        ({"retraction": ["polar"]}, r"retraction must be one of"),
    ],
)
def test_unknown_options_are_refused_with_the_choices(options, message):
    with pytest.raises(ValueError, match=message):
        Stiefel(**options)


def test_equal_settings_make_equal_manifolds():
    assert Stiefel() == Stiefel("polar", "euclidean")
    assert Stiefel() != Stiefel("qr")
    assert Stiefel() != Stiefel(metric="canonical")
    assert Stiefel() != Stiefel(determinant=1)
    assert Stiefel() != geoopt.EuclideanStiefel()
    assert len({Stiefel(), Stiefel(), Stiefel("qr")}) == 2
    for again in (copy.deepcopy(Stiefel("exp")), pickle.loads(pickle.dumps(Stiefel("exp")))):
        assert again == Stiefel("exp")
    x = Stiefel().random(4, 4)  # geoopt compares the manifold of the data with the one given
    assert geoopt.ManifoldParameter(x, manifold=Stiefel()).manifold == x.manifold


def test_equal_manifolds_do_not_merge_the_layers_of_a_model():
    model = torch.nn.Sequential(OrthoRNN(2, 3), OrthoRNN(2, 3))
    assert sum(isinstance(p, geoopt.ManifoldParameter) for p in model.parameters()) == 2


@pytest.mark.each_value_once
@every_metric
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
@pytest.mark.parametrize("shape", [(6, 6), (7, 3), (3, 7)], ids=str)
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: geoopt.optim.RiemannianAdam([p], lr=0.05),
        lambda p: geoopt.optim.RiemannianSGD([p], lr=0.1, momentum=0.5),
        lambda p: geoopt.optim.RiemannianSGD([p], lr=0.1, momentum=0.5, stabilize=5),
    ],
    ids=["adam", "sgd", "stabilized sgd"],
)
def test_geoopt_optimizers_run_unchanged(metric, retraction, shape, optimizer):
    goal = point(shape)
    manifold = Stiefel(retraction, metric)
    x = geoopt.ManifoldParameter(manifold.retr(goal, tangent(goal)), manifold=manifold)
    optimizer = optimizer(x)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (x - goal).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    assert orthogonality_error(x) < 1e-12


def test_the_methods_of_a_manifold_tensor_work():
    x = Stiefel().random(4, 4, dtype=torch.float64)
    u = x.proju(torch.randn(4, 4, dtype=torch.float64))
    u = u / u.norm() / 2
    y = x.retr(u)
    torch.testing.assert_close(x.expmap(x.logmap(y)), y)
    torch.testing.assert_close(x.dist(y, p="g"), x.inner(x.logmap(y)).sqrt())
    torch.testing.assert_close(x.transp(y, u), x.retr_transp(u, u)[1])


@pytest.mark.parametrize("retraction", sorted(set(RETRACTIONS) - {"svd"}))
@pytest.mark.parametrize("shape", [(4, 4), (5, 2)], ids=str)
def test_a_retraction_is_differentiable(retraction, shape):
    x = point(shape)
    v = tangent(x)

    def reached(t):
        return Stiefel(retraction).retr(x, t * v)

    t = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(reached, (t,), atol=1e-6)


@pytest.mark.parametrize("retraction", ["polar", "qr", "cayley", "exp"])
def test_a_retraction_is_twice_differentiable(retraction):
    x = point((4, 4))
    v = tangent(x)

    def reached(t):
        return Stiefel(retraction).retr(x, t * v)

    t = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(reached, (t,), atol=1e-6)
