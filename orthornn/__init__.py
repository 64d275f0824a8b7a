"""Orthogonal recurrent networks trained on the Stiefel manifold."""

from .init import cayley_, haar_, henaff_, identity_
from .manifolds.stiefel import SpecialOrthogonal, Stiefel
from .nn.cell import OrthoRNNCell
from .nn.checkpointing import in_segments
from .nn.off_manifold import OffManifoldWarning
from .nn.param_groups import param_groups
from .nn.recurrent_weight import project_
from .nn.reduction import Reduction, reduce
from .nn.reflection import ReflectionRNN
from .nn.rnn import OrthoRNN
from .nn.switched import SwitchedOrthoRNN
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
    "Reduction",
    "ReflectionRNN",
    "RiemannianAdam",
    "RiemannianMuon",
    "RiemannianRMSprop",
    "RiemannianSGD",
    "SpecialOrthogonal",
    "Stiefel",
    "SwitchedOrthoRNN",
    "backends",
    "cayley_",
    "haar_",
    "henaff_",
    "identity_",
    "in_segments",
    "param_groups",
    "project_",
    "reduce",
]
