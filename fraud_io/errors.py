"""The one class of errors that a person reads as a sentence. Everything else is a bug and keeps its traceback."""


class OperatorError(Exception):
    """What is wrong and what to do about it, in one sentence. A command prints it and exits with a status above 0."""
