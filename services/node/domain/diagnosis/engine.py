"""Issues of the container engine."""

from services.node.domain.diagnosis.facts import Facts, Issue


class EngineDown:
    """The container engine does not answer."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue if the chute service says so."""
        if facts.engine_available is not False:
            return None
        return Issue(
            "engine-down",
            "error",
            "The Docker engine does not answer; chutes cannot be started or changed.",
            "Start it (systemctl start docker) and see its log; changes that wait go on by themselves.",
        )
