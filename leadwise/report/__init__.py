"""Present results: ECG sheets, the JSON output of one recording, evaluation and training reports, the model card.

`sheet/` draws one ECG to scale; `occlusion` finds the evidence for a diagnosis; `annotated_recording` joins both with
the prediction. `evaluation_page` and `training_page` write HTML reports from `statistics`, `lead_importance` and
`charts`; `card` writes the model card. Importing this package alone loads neither matplotlib nor torch.
"""
