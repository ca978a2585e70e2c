"""Errors that somebody must act on; their message says what is wrong and what to do. Anything else is a bug."""


class OperatorError(Exception):
    """The job cannot go on without a decision by a person. The message says what is wrong and what to do."""


class StoppedError(Exception):
    """A stop was asked for while something waited or before a micro-batch began. Nothing was scored half."""
