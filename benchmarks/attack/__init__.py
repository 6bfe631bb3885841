"""An attack on what users rely on: bad input, damaged files, processes killed at any moment, memory."""
