"""What somebody who gave a file must act on; the message says which file, and why."""


class InputFileError(Exception):
    """A file that cannot be used at all."""
