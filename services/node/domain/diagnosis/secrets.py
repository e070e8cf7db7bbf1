"""Issues of private files."""

from services.node.domain.diagnosis.facts import Facts, Issue


class SecretsReadable:
    """Others than the owner of the node can read its keys or passwords."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns one issue for all such files."""
        if not facts.readable_secrets:
            return None
        return Issue(
            "secrets-readable",
            "error",
            f"Other users of this machine can read {', '.join(facts.readable_secrets)}.",
            "Make the files private again (chmod 600), and change what somebody could have read in them.",
            fixable=True,
        )
