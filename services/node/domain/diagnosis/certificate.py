"""Issues of certificates."""

from services.node.domain.diagnosis.facts import Facts, Issue

DAY_S = 86400
SOON_DAYS = 14


class CertificateExpiring:
    """The certificate of the gateway ends soon, or has ended."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue two weeks before the end."""
        return _issue(
            "certificate-expiring",
            "The certificate",
            facts.certificate_ends_s,
            facts.time_s,
            "Put a new one at PARADROP_TLS_CERT and PARADROP_TLS_KEY and start the node again.",
        )


class ControllerCertificateExpiring:
    """The certificate by which the controller knows the node ends soon, or has ended."""

    def check(self, facts: Facts) -> Issue | None:
        """Returns the issue two weeks before the end."""
        return _issue(
            "controller-certificate-expiring",
            "The node's certificate for its controller",
            facts.controller_certificate_ends_s,
            facts.time_s,
            "Put a new one at PARADROP_CONTROLLER_CERT and PARADROP_CONTROLLER_KEY; the next connection uses "
            "it.",
        )


def _issue(issue: str, what: str, ends_s: float | None, now_s: float, suggestion: str) -> Issue | None:
    if ends_s is None:
        return None
    days = (ends_s - now_s) / DAY_S
    if days >= SOON_DAYS:
        return None
    message = f"{what} ends in {days:.0f} days." if days > 0 else f"{what} has ended."
    return Issue(issue, "warning" if days > 0 else "error", message, suggestion)
