"""Leadwise: 24 diagnoses from 12-lead ECGs; docs/architecture.md says what lies where. This alone loads no torch."""

__version__ = "0.1.0"
