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
            f"The controller at {facts.controller} does not answer.",
            "See that the node has a way to it and that id and token are still good; what the controller "
            "must learn is kept until then.",
        )
