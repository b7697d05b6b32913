"""What a GPU must prove: that it computes right, survives failures, and how fast it is. `python -m benchmarks.gpu`.

A file here is a part of the run (`right`, `survives`, `fast`, `scores`, `variants`) or what the parts share. Nothing
here imports wfdb, click or the tests: the machine that lends a GPU may have none of them.
"""
