"""Issues of the services of the node."""

from services.node.domain.diagnosis.facts import Facts, Issue

SERVING = "SERVING"


class ServiceDown:
    """A service of the node does not serve."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns one issue for all of them."""
        down = [f"{name} ({status})" for name, status in sorted(facts.services.items()) if status != SERVING]
        if not down:
            return None
        return Issue(
            "service-down",
            "error",
            f"These services do not serve: {', '.join(down)}.",
            "See the node's log (paradrop logs) for the cause, then start the node again.",
        )
