"""The one exception that stands for a mistake its user can mend."""


class UserError(Exception):
    """A mistake in the input: shown as one line, without a traceback, with exit status 2.

    The message names the subject, file or key concerned and says what to do.
    """
