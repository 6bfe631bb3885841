"""What people read of a ranking: a directory of tables and pictures, and a page."""
