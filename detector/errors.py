"""What can go wrong in the detector, each as one sentence an operator can act on."""


class DetectorError(Exception):
    """Base of everything the detector raises on purpose."""


class ImageError(DetectorError):
    """A picture that is not one, is incomplete, or has absurd dimensions."""


class ModelError(DetectorError):
    """A model folder, backbone checkpoint or teaching set that cannot be used."""
