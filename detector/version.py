"""The version of all of this, said here and nowhere else: the wheel's metadata is read from it when it is built."""

VERSION = "0.2.0"
