"""Issues of radios."""

from services.node.domain.diagnosis.facts import Facts, Issue

STAND_IN = "standin-wifi-0"
"""Id that the network service gives what stands in for a radio."""


class RadioMissing:
    """The host configuration uses a radio that is not there."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns one issue for all of them."""
        missing = sorted(set(facts.wanted_radios) - {STAND_IN, *facts.radios})
        if not missing:
            return None
        return Issue(
            "radio-missing",
            "error",
            f"The host configuration uses radios that are not there: {', '.join(missing)}.",
            "Plug the card in again, load its driver, or take it out of the host configuration.",
        )


class RadioStandsIn:
    """The host configuration uses what stands in for a radio."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns an issue that says so: everything else looks as with a radio."""
        if STAND_IN not in facts.wanted_radios:
            return None
        return Issue(
            "radio-standin",
            "warning",
            "A stand-in takes the place of a radio: access points answer, and nothing is on air.",
            "Leave it so in a lab; else unset PARADROP_STANDIN_RADIO and name radios in its place.",
        )
