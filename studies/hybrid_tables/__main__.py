"""``python -m studies.hybrid_tables``: see `study`."""

from studies.hybrid_tables.study import main

main()
