"""``python -m studies.selector_mlp``: see `study`."""

from studies.selector_mlp.study import main

main()
