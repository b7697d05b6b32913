"""Simulate 12-lead ECGs that show given diagnoses, from a seed: a moving cardiac dipole, beat by beat. No torch.

Diagnoses set parameters of a patient (`patient`); the waves of the heartbeats (`heartbeat`) in their rhythm (`rhythm`)
make a dipole that the leads record (`dipole`), with `noise`: one ECG (`ecg`). `databases` has the frequencies of
diagnoses, `folder` writes files. Each diagnosis meets its criterion, but real patients vary far more."""

from leadwise.simulate.databases import DATABASES
from leadwise.simulate.ecg import simulate
from leadwise.simulate.folder import write_folder
from leadwise.simulate.patient import CRITERIA, compatible

__all__ = ["CRITERIA", "DATABASES", "compatible", "simulate", "write_folder"]
