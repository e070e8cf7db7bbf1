"""Where links lead, by what they say: nobody follows them."""

from collections.abc import Sequence


def leads_out(steps: Sequence[str], target: str) -> bool:
    """Tells whether a link in the data of a chute leaves it by "..".

    `steps` is where the link lies in the data. An absolute target is one of the container, such as the
    interpreter of a virtual environment, and not for this side to judge.
    """
    if target.startswith("/"):
        return False
    depth = len(steps) - 1
    for step in target.split("/"):
        if step == "..":
            depth -= 1
        elif step not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False
