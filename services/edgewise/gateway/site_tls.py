"""TLS towards a site: whom we believe and who we are."""

import ssl

from edgewise.core.errors import FailedPreconditionError
from edgewise.gateway.config import SiteTls


def client_context(tls: SiteTls, protocols: tuple[str, ...]) -> ssl.SSLContext:
    """The context for connections to a site.

    Args:
        tls: the system's authorities are believed where it names none.
        protocols: what is spoken under TLS, as ALPN names it, such as ("http/1.1",) or ("h2",).
    Raises: FailedPreconditionError: a file cannot be used; says which.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    if tls.ca is not None:
        try:
            context.load_verify_locations(cafile=tls.ca)
        except (OSError, ssl.SSLError) as error:
            raise FailedPreconditionError(f"the site's CA {tls.ca} cannot be used: {error}") from error
    if tls.cert is not None:
        try:
            context.load_cert_chain(tls.cert, tls.key, password=_refuse_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise FailedPreconditionError(
                f"the certificate {tls.cert} and its key cannot be used for a site: {error}"
            ) from error
    return context


def _refuse_password() -> str:
    """OpenSSL would ask on the terminal otherwise."""
    raise ValueError("the private key is encrypted; give it without a passphrase")
