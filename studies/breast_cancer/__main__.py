"""``python -m studies.breast_cancer``: see `study`."""

from studies.breast_cancer.study import main

main()
