"""Orthogonal recurrent networks trained on the Stiefel manifold."""

from .init import cayley_, haar_, henaff_, identity_
from .manifolds.stiefel import SpecialOrthogonal, Stiefel
from .nn.cell import OrthoRNNCell
from .nn.checkpointing import in_segments
from .nn.off_manifold import OffManifoldWarning
from .nn.param_groups import param_groups
from .nn.recurrent_weight import project_
from .nn.rnn import OrthoRNN
from .optim.adam import RiemannianAdam
from .optim.muon import RiemannianMuon
from .optim.rmsprop import RiemannianRMSprop
from .optim.sgd import RiemannianSGD
from .recurrence import backends

DepartureWarning = OffManifoldWarning  # its former name

__all__ = [
    "OffManifoldWarning",
    "OrthoRNN",
    "OrthoRNNCell",
    "RiemannianAdam",
    "RiemannianMuon",
    "RiemannianRMSprop",
    "RiemannianSGD",
    "SpecialOrthogonal",
    "Stiefel",
    "backends",
    "cayley_",
    "haar_",
    "henaff_",
    "identity_",
    "in_segments",
    "param_groups",
    "project_",
]
