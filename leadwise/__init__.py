"""Find 24 diagnoses in 12-lead ECGs: `leadwise.load("MODEL").predict("path/to/record")`.

docs/library.md shows the library, docs/architecture.md the packages. The names in `__all__` are imported when they are
first used, so that `import leadwise` alone loads neither torch nor NumPy.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from leadwise import simulate as simulate
    from leadwise.api import Classifier as Classifier
    from leadwise.api import evaluate as evaluate
    from leadwise.api import load as load
    from leadwise.api import read as read
    from leadwise.api import score as score
    from leadwise.challenge.metric import Scores as Scores
    from leadwise.ecg.repairs import RecordingError as RecordingError
    from leadwise.model.folder import ModelError as ModelError
    from leadwise.result import Result as Result

__version__ = "0.2.0"
__all__ = [
    "Classifier", "ModelError", "RecordingError", "Result", "Scores", "__version__", "evaluate", "load", "read",
    "score", "simulate",
]  # fmt: skip

_PLACES = {  # of all others: api
    "ModelError": "model.folder",
    "RecordingError": "ecg.repairs",
    "Result": "result",
    "Scores": "challenge.metric",
}


def __getattr__(name: str) -> _Any:
    """Import a name of `__all__` from its module (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'leadwise' has no attribute {name!r}")
    if name == "simulate":
        return _import_module("leadwise.simulate")
    globals()[name] = getattr(_import_module(f"leadwise.{_PLACES.get(name, 'api')}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
