"""Riemannian optimizers: torch's own for plain parameters, retractions for points of a manifold.

One object serves a whole model. Plain parameters go through torch's own code, untouched. A
``geoopt.ManifoldParameter`` goes through one skeleton (:mod:`orthornn.optim.riemannian`) with one
rule per optimizer, which stands beside its class:

    g = coordinates of the Riemannian gradient        (:mod:`orthornn.optim.coordinates`)
    d = rule(g, moments)                              a pure function, one per optimizer
    x = retraction of the step -lr d                  moments carried along
"""

from .adam import RiemannianAdam
from .muon import RiemannianMuon
from .rmsprop import RiemannianRMSprop
from .sgd import RiemannianSGD

__all__ = ["RiemannianAdam", "RiemannianMuon", "RiemannianRMSprop", "RiemannianSGD"]
