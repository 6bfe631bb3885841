"""PermGrad on its five tables."""
