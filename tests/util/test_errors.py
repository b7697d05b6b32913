"""The base of the errors that a command prints in one line."""

from __future__ import annotations

from leadwise import ModelError
from leadwise.model.scoring import UnusableRecordingError
from leadwise.util.errors import LeadwiseError


def test_what_a_user_can_mend_has_one_base() -> None:
    assert issubclass(ModelError, LeadwiseError) and issubclass(UnusableRecordingError, LeadwiseError)
