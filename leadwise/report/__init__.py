"""Pictures and pages made from results: one ECG and its answer, as a sheet or as JSON, and the report of any outputs.

Of one ECG: its `sheet`, true to scale (`layout`, `paper`), the `panel` below it, the heart `rate`, where the evidence
lies (`occlusion`), and the whole `answer`. Of a folder of outputs: the `page`, its numbers (`tally`), its pictures
(`charts`).

The top floor: it may import anything below, and commands alone import it. Nothing here trains or decides;
importing this package by itself loads neither matplotlib nor torch.
"""
