"""``python -m studies.histopathology``: see `study`."""

from studies.histopathology.study import main

main()
