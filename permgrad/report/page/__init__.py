"""The page of one ranking: its words, tables, pictures and Python calls, put into a template."""
