"""An error that the owner of a file must act on; the message names the file and the reason."""


class InputFileError(Exception):
    """A file that cannot be used at all."""
