"""The parts of hybrid_tables.py."""
