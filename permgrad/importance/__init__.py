"""How much a network relies on each feature: explainers, and their fusion into one ranking."""
