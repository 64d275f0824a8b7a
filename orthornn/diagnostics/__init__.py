"""Numbers that show what a network carries, what reaches its past, and what a manifold does."""

from .gradients import (
    gradient_norms,
    jacobian,
    orthogonality_error,
    saturation,
    singular_values,
)
from .representations import (
    Horizon,
    Products,
    characters,
    homomorphism_error,
    horizon,
    product_table,
)
from .slopes import Slope, check_gradient, check_retraction

__all__ = [
    "Horizon",
    "Products",
    "Slope",
    "characters",
    "check_gradient",
    "check_retraction",
    "gradient_norms",
    "homomorphism_error",
    "horizon",
    "jacobian",
    "orthogonality_error",
    "product_table",
    "saturation",
    "singular_values",
]
