"""PESQ (ITU-T P.862, P.862.2 for wideband): python -c SCRIPT RATE SPOKEN HEARD, raw 16-bit samples; prints the MOS-LQO."""
import sys

import numpy
from pesq import pesq

rate, spoken, heard = int(sys.argv[1]), sys.argv[2], sys.argv[3]
samples = [numpy.fromfile(file, dtype="<i2") for file in (spoken, heard)]
print(pesq(rate, samples[0], samples[1], "wb" if rate == 16000 else "nb"))
