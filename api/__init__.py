"""The HTTP side: DICOMweb, the reading worklist, results, and the page that shows them."""

from api.context import ApiContext
from api.serve import WebServer
from api.service import create_app

__all__ = ["ApiContext", "WebServer", "create_app"]
