"""Permuting columns, exactly and without computing anything twice."""
