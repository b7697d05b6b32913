"""Read ECGs in other formats than WFDB: XML, SCP-ECG, DICOM, EDF, ISHNE and MFER by ecgdatakit, CSV and NumPy files.

`detection` tells the format from the content, `library` adapts what ecgdatakit finds, `tables` and `arrays` read CSV
and NumPy files, `channels` makes a `Recording`, `reading` has the entry point.
"""

from leadwise.ecg.formats.channels import FORMAT_REPAIRS as FORMAT_REPAIRS
from leadwise.ecg.formats.detection import other_format as other_format
from leadwise.ecg.formats.reading import read_other_format as read_other_format
