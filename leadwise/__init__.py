"""Leadwise: 24 diagnoses from 12-lead ECGs; docs/library.md shows the library, docs/architecture.md what lies where.

`leadwise.load("MODEL").predict("path/to/record")` is the whole of it. What stands in `__all__` is found when it is
first asked for, so that `import leadwise` alone loads neither torch nor NumPy.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from leadwise import simulate as simulate
    from leadwise.api import Classifier as Classifier
    from leadwise.api import Result as Result
    from leadwise.api import evaluate as evaluate
    from leadwise.api import load as load
    from leadwise.challenge.metric import Scores as Scores
    from leadwise.model.folder import ModelError as ModelError

__version__ = "0.1.0"
__all__ = ["Classifier", "ModelError", "Result", "Scores", "__version__", "evaluate", "load", "simulate"]

_PLACES = {"ModelError": "model.folder", "Scores": "challenge.metric"}  # all others are the api's


def __getattr__(name: str) -> _Any:
    """What is in `__all__`, from the module that has it, imported now (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'leadwise' has no attribute {name!r}")
    if name == "simulate":
        return _import_module("leadwise.simulate")
    value = getattr(_import_module(f"leadwise.{_PLACES.get(name, 'api')}"), name)
    globals()[name] = value  # the next one who asks finds it at once
    return value


def __dir__() -> list[str]:
    """So that a notebook's completion shows what there is."""
    return sorted({*globals(), *__all__})
