"""Provide the base of the errors that a command reports in one line, without importing what raises them."""


class LeadwiseError(Exception):
    """Raised for what a user can mend: a command prints it in one line and exits with status 1."""
