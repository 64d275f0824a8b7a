"""Problems with a known optimum, solved from every start of the same component."""

import geoopt
import pytest
import torch

from orthornn import RiemannianAdam, RiemannianMuon, RiemannianRMSprop, RiemannianSGD, Stiefel
from orthornn.linalg import nearest_rotation, orthogonality_error
from orthornn.manifolds.metrics import METRICS
from orthornn.manifolds.retractions import RETRACTIONS

OPTIMIZERS = {
    "sgd": lambda p: RiemannianSGD([p], lr=0.1),
    "sgd, nesterov": lambda p: RiemannianSGD([p], lr=0.04, momentum=0.8, nesterov=True),
    "adam": lambda p: RiemannianAdam([p], lr=0.1),
    "adam, scalar": lambda p: RiemannianAdam([p], lr=0.1, adaptivity="scalar"),
    "rmsprop": lambda p: RiemannianRMSprop([p], lr=0.05),
    "sgd, rows": lambda p: RiemannianSGD([p], lr=0.4, rows=0.5),
    "rmsprop, rows": lambda p: RiemannianRMSprop([p], lr=0.2, rows=3),
    "muon": lambda p: RiemannianMuon([p], lr=0.05),
}
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS)
of_any_shape = pytest.mark.parametrize("optimizer", list(OPTIMIZERS)[:5])


def minimise(x, cost, optimizer, steps=400):
    optimizer = OPTIMIZERS[optimizer](x)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-3, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        cost(x).backward()
        optimizer.step()
        schedule.step()
    return cost(x).item()


@pytest.mark.each_value_once
@every_optimizer
@pytest.mark.parametrize("retraction", sorted(RETRACTIONS))
@pytest.mark.parametrize("determinant", [1, -1])
def test_procrustes_ends_at_the_known_solution(optimizer, retraction, determinant):
    """min ‖xa - b‖ over a component is attained at the rotation nearest to baᵀ."""
    manifold = Stiefel(retraction, determinant=determinant)
    x = geoopt.ManifoldParameter(manifold.random(6, 6, dtype=torch.float64), manifold=manifold)
    goal = manifold.random(6, 6, dtype=torch.float64).data
    a = torch.randn(6, 12, dtype=torch.float64)
    b = goal @ a + 0.3 * torch.randn(6, 12, dtype=torch.float64)
    a, b = a / 12**0.5, b / 12**0.5

    def cost(x):
        return (x @ a - b).square().sum()

    best = cost(nearest_rotation(b @ a.mT, determinant)).item()
    start = cost(x).item()
    assert minimise(x, cost, optimizer) - best < 1e-4 * (start - best)
    manifold.assert_check_point_on_manifold(x, atol=1e-12)


@pytest.mark.each_value_once
@of_any_shape
@pytest.mark.parametrize("metric", sorted(METRICS))
@pytest.mark.parametrize("shape", [(8, 3), (3, 8)], ids=str)
def test_the_leading_eigenspace_is_found(optimizer, metric, shape):
    """max tr(xᵀax) over 8 x 3 is the sum of the three largest eigenvalues of a."""
    manifold = Stiefel(metric=metric)
    x = geoopt.ManifoldParameter(manifold.random(*shape, dtype=torch.float64), manifold=manifold)
    q = Stiefel().random(8, 8, dtype=torch.float64).data
    eigenvalues = torch.tensor([5.0, 4, 3, 1, 0.5, 0, -1, -2], dtype=torch.float64)
    a = q * eigenvalues @ q.mT

    def cost(x):
        x = x.mT if shape[0] < shape[1] else x
        return -(x.mT @ a @ x).trace()

    assert minimise(x, cost, optimizer, 600) == pytest.approx(-12.0, rel=1e-4)
    assert orthogonality_error(x) < 1e-13
