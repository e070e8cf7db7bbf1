"""Issues of the certificate."""

from services.node.domain.diagnosis.facts import Facts, Issue

DAY_S = 86400
SOON_DAYS = 14


class CertificateExpiring:
    """The certificate of the gateway ends soon, or has ended."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue two weeks before the end."""
        if facts.certificate_ends_s is None:
            return None
        days = (facts.certificate_ends_s - facts.time_s) / DAY_S
        if days >= SOON_DAYS:
            return None
        return Issue(
            "certificate-expiring",
            "warning" if days > 0 else "error",
            f"The certificate ends in {days:.0f} days." if days > 0 else "The certificate has ended.",
            "Put a new one at PARADROP_TLS_CERT and PARADROP_TLS_KEY and start the node again.",
        )
