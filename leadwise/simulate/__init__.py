"""ECGs that show a given diagnosis: twelve leads from a moving cardiac dipole, beat by beat, from a seed.

A diagnosis sets numbers of a patient (`patient`), the patient has heartbeats (`heartbeat`) and a rhythm (`rhythm`), all
waves of all beats make a dipole that the leads see (`dipole`), the machine adds its noise (`noise`): one ECG (`ecg`).
`databases` tells how often what occurs where, `folder` writes recordings as the Challenge's files. For tests, the demo
and pre-training: the textbook criterion of each diagnosis is in the signal, the variety of real patients is not. Knows
no training and no torch.
"""

from leadwise.simulate.databases import DATABASES
from leadwise.simulate.ecg import simulate
from leadwise.simulate.folder import write_folder
from leadwise.simulate.patient import CRITERIA, compatible

__all__ = ["CRITERIA", "DATABASES", "compatible", "simulate", "write_folder"]
