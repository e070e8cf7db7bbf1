"""Issues of radios."""

from services.node.domain.diagnosis.facts import Facts, Issue


class RadioMissing:
    """The host configuration uses a radio that is not there."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns one issue for all of them."""
        missing = sorted(set(facts.wanted_radios) - set(facts.radios))
        if not missing:
            return None
        return Issue(
            "radio-missing",
            "error",
            f"The host configuration uses radios that are not there: {', '.join(missing)}.",
            "Plug the card in again, load its driver, or take it out of the host configuration.",
        )
