"""Tumour type from 20,531 genes."""
