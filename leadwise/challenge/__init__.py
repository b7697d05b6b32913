"""The Challenge of 2020: its classes and rewards, its metric, its output files and its evaluation. No torch."""
