"""Issues of settings."""

from services.node.domain.diagnosis.facts import Facts, Issue


class SettingsIgnored:
    """A setting is unknown, of the wrong kind, or without effect."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns one issue for all of them."""
        if not facts.settings_problems:
            return None
        return Issue(
            "settings-ignored",
            "warning",
            f"Some settings have no effect: {' '.join(facts.settings_problems)}",
            "Correct these lines and start the node again.",
        )
