"""Read and write the files of one WFDB record: signal files, MATLAB matrices, segments, the Challenge's own form.

Belongs here: bytes on a disk and what they mean. What a recording is, whatever its files, belongs in `leadwise.ecg`.
"""
