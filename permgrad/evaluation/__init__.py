"""What a network and a ranking are worth: scores, and the referee that puts a ranking to the test."""

from permgrad.evaluation.scores import scores as scores
