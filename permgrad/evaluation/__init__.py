"""How good a network and a ranking are: scores on rows that were not seen, and the referee."""
