"""The one exception for what a user can fix."""


class UserError(Exception):
    """Something the user can fix: one sentence that names the key, its value and what would be right.

    The command line prints the sentence without a traceback and exits with 1. Any other exception is a
    bug; its traceback goes to the log.
    """


def one_line(error: Exception) -> str:
    """What a library's exception says, on one line; its kind where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__
