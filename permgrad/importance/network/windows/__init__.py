"""An image branch as what a few changed pixels can change in it: a window of each map, and nothing else."""
