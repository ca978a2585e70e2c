"""The one class of errors a user sees as a sentence. Everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """One clear sentence that says what is wrong and what to do. The command line prints it and exits with status 1."""
