"""One file a DICOM service; `pacs_gateway.service` finds each one's ``SERVICE``."""
