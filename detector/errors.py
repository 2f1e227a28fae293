"""What can go wrong in the detector, each as one sentence an operator can act on."""

import re


class DetectorError(Exception):
    """Base of everything the detector raises on purpose."""


class ImageError(DetectorError):
    """A picture that is not one, is incomplete, or has absurd dimensions."""


class ModelError(DetectorError):
    """A model folder, backbone checkpoint or teaching set that cannot be used."""


_PLACE = re.compile(r"(Exception from|Check '.*' failed at) .*:")
_OPENCV_OUT_OF_MEMORY = -4  # cv2.Error.StsNoMem
OUT_OF_MEMORY = (
    "There was not enough memory, and nothing is wrong with the pictures: stop other programs, or take a smaller "
    "--image-size or smaller pictures."
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, in the words of Python, NumPy and OpenVINO, or in OpenCV's."""
    return isinstance(error, MemoryError) or getattr(error, "code", None) == _OPENCV_OUT_OF_MEMORY


def reason_of(error: BaseException) -> str:
    """The first line of what an error says that is no place in OpenVINO's source; its kind where there is none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not _PLACE.fullmatch(line)), type(error).__name__)
