"""``python -m studies.rna_tumour``: see `study`."""

from studies.rna_tumour.study import main

main()
