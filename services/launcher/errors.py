"""Why a node cannot start, in words for its operator."""

OURS = ("services.", "gateway.")


class StartError(Exception):
    """A part cannot start; the message is one line and says what to do."""


def explain(error: BaseException) -> str:
    """Returns one line about an error; the type is named where the text alone would be a riddle."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        # Its own text begins with a number that says nothing to an operator.
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    if text and (isinstance(error, OSError) or type(error).__module__.startswith(OURS)):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
