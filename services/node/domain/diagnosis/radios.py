"""Issues of radios."""

from services.common.settings import STANDIN_RADIO_ID
from services.node.domain.diagnosis.facts import Facts, Issue


class RadioMissing:
    """The host configuration uses a radio that is not there."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns one issue for all of them."""
        missing = sorted(set(facts.wanted_radios) - {STANDIN_RADIO_ID, *facts.radios})
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
        if STANDIN_RADIO_ID not in facts.wanted_radios:
            return None
        return Issue(
            "radio-standin",
            "warning",
            "A stand-in takes the place of a radio: access points answer, and nothing is on air.",
            "Leave it so in a lab; else unset PARADROP_STANDIN_RADIO and name radios in its place.",
        )
