"""The exception for mistakes that users can correct."""


class UserError(Exception):
    """A mistake in the input: shown as one line, without a traceback, with exit status 2.

    The message names the subject, file or key concerned and says what to do.
    """
