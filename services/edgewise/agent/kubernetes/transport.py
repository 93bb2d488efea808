"""Calls that got no answer, put into words: nobody there, nobody who answers, nobody who is trusted."""

import urllib3

from edgewise.agent.kubernetes.api_answers import one_line
from edgewise.agent.kubernetes.port import ClusterError, ClusterLostError, CredentialsError


def transport_error(error: Exception, address: str, *, connect_s: float, read_s: float) -> ClusterError:
    """The error for a call that got no answer.

    Args:
        error: of urllib3.
        address: of the API server, for the message.
        connect_s, read_s: the limits that were set.
    """
    inner = error
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        inner = error.reason
    match inner:
        case urllib3.exceptions.SSLError():
            return tls_error(str(inner), address)
        case urllib3.exceptions.ReadTimeoutError():
            return slow(address, read_s)
        case urllib3.exceptions.NameResolutionError():
            return ClusterLostError(f"the host of the API server at {address} cannot be found by its name")
        case urllib3.exceptions.NewConnectionError():
            why = "the connection is refused" if "refused" in str(inner) else "it cannot be reached"
            return ClusterLostError(
                f"no API server at {address}: {why}; is the cluster running, and the address right?"
            )
        # The two above derive from it.
        case urllib3.exceptions.ConnectTimeoutError():
            return ClusterLostError(f"no API server answers at {address} within {connect_s:g} s")
    return ClusterLostError(f"the connection to the API server at {address} broke")


def tls_error(reason: str, address: str) -> ClusterError:
    """The error for a failed handshake, from what OpenSSL said of it."""
    text = reason.lower()
    if "certificate verify failed" in text:
        why = one_line(reason.partition("certificate verify failed:")[2].partition("(_ssl")[0]) or "it is not trusted"
        return CredentialsError(
            f"the certificate of the API server at {address} is not accepted: {why}; "
            "the kubeconfig's certificate-authority is of another cluster, or the certificate has expired"
        )
    if "alert" in text and ("certificate" in text or "unknown ca" in text):
        return CredentialsError(
            f"the API server at {address} does not accept the client certificate of the kubeconfig: it is expired or of "
            "another cluster"
        )
    if "eof occurred" in text:
        return CredentialsError(
            f"the API server at {address} ends the TLS handshake; it may not accept the client certificate of the kubeconfig"
        )
    if "wrong version number" in text or "record layer" in text:
        return CredentialsError(f"what answers at {address} speaks no TLS; expected the address of an API server")
    return CredentialsError(f"no TLS with the API server at {address}: {one_line(reason, 200)}")


def slow(address: str, within_s: float) -> ClusterLostError:
    """The error for an answer that did not come in time."""
    return ClusterLostError(f"the API server at {address} took the call and did not answer within {within_s:g} s")
