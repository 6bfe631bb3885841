"""The parts of rna_tumour.py."""
