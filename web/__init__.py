"""The reading-room page: its template, styles and script, which `api.page` serves; and the image viewer."""
