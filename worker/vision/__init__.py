"""From a file to tiles, and from readings to a picture."""

import os
from typing import Final

# OpenCV reads both when it is first imported, whoever does it: every module that does lies in or behind this
# package. The pixel limit is the second line of defence, the configured one is checked before OpenCV's.
MAX_PIXELS: Final = 1 << 28
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it would say is in the record already
