"""Gene panels with a feature-selection layer."""
