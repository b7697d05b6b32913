"""Read one recording: parse its files, name their repairs, order and derive leads, resample and prepare the signal.

Belongs here: what is true of any ECG file or signal, without networks, rewards or torch (a fast import).
"""
