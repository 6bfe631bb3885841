"""Breast cancer from thirty measurements."""
