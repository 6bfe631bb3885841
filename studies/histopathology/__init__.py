"""Metastasis in pathology patches."""
