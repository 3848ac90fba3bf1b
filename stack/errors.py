"""The errors that a user can do something about. The CLI prints them without a stack trace."""


class StackError(Exception):
    """`str(error)` says what went wrong; `hint` is the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
