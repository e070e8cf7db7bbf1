"""Issues of temperature."""

from services.node.domain.diagnosis.facts import Facts, Issue

HOT_CELSIUS = 90.0


class TooHot:
    """The hottest part is so hot that the kernel slows the processor down, or soon will."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue if a sensor tells it."""
        if facts.hottest_celsius is None or facts.hottest_celsius < HOT_CELSIUS:
            return None
        return Issue(
            "too-hot",
            "warning",
            f"The hottest sensor tells {facts.hottest_celsius:.0f} °C.",
            "Let air reach the box, and take it out of the sun.",
        )
