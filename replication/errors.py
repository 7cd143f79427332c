"""The one exception for what a user can mend."""


class UserError(Exception):
    """Something the user can mend: one sentence with the key, the value and what would be right.

    The command line prints the sentence without a traceback and exits with 1. Any other exception is a
    fault of ours; its traceback goes to the log.
    """
