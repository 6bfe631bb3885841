"""What the histopathology study is made of: recipes and trainings, the grid, the forest, tables, pictures, report."""
