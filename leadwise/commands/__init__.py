"""Sub-commands of `leadwise`, one module each; the scripts of the Challenge run the same functions.

A module imports click and the option tables alone. What takes its time to import (torch, NumPy, SciPy) is imported by
its function, so that help and usage errors come at once.
"""
