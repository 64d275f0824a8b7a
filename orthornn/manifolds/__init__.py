"""The Stiefel manifold behind geoopt's interface: metrics, retractions, checks."""
