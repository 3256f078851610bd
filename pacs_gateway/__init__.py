"""DICOM in and out: the gateway, the way into the archive, and a sender."""

from pacs_gateway.ae import Gateway
from pacs_gateway.errors import GatewayError
from pacs_gateway.header import read_header
from pacs_gateway.ingest import Ingest, Reception
from pacs_gateway.limits import Limits
from pacs_gateway.negotiation import Refusal

__all__ = ["Gateway", "GatewayError", "Ingest", "Limits", "Reception", "Refusal", "read_header"]
