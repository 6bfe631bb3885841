"""``python -m permgrad``: the command line."""

from permgrad.cli import main

main()
