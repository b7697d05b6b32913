"""Check a GPU: correctness, recovery from failures, speed of training and scoring. Run `python -m benchmarks.gpu`.

The parts of the run are `machine`, `right`, `survives`, `fast`, `scores` and `variants`; the other files are shared by
them. Nothing here imports wfdb, click or the tests, which a GPU machine may lack.
"""
