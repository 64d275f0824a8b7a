"""Orthogonal recurrent networks trained on the Stiefel manifold."""

from .cell import OrthoRNNCell
from .departure import DepartureWarning
from .groups import param_groups
from .init import cayley_, haar_, henaff_, identity_
from .manifold import SpecialOrthogonal, Stiefel
from .muon import RiemannianMuon
from .optim import RiemannianAdam, RiemannianRMSprop, RiemannianSGD
from .recurrence import backends
from .recurrent_weight import project_
from .rnn import OrthoRNN
from .segments import in_segments

__all__ = [
    "DepartureWarning",
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
