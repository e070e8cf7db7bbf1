"""Issues of the controller."""

from services.node.domain.diagnosis.facts import Facts, Issue


class ControllerUnreachable:
    """The node belongs to a controller that it cannot reach. It works all the same."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue if there is a controller and no connection."""
        if not facts.controller or facts.controller_connected:
            return None
        return Issue(
            "controller-unreachable",
            "warning",
            facts.controller_trouble or f"The controller at {facts.controller} does not answer.",
            "See GET /api/v1/config/controller for the reason; what the controller must learn is kept until "
            "then.",
        )
