"""One game: what each (column, branch) is worth to the network, in units of its loss."""
