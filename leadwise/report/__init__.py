"""Pictures and pages made from results: the sheet of one ECG (`sheet`) and the heart rate on it (`rate`).

The top floor: it may import anything below, and commands alone import it. Nothing here trains, scores or decides;
importing this package by itself loads neither matplotlib nor torch.
"""
