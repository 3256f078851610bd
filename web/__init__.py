"""The reading-room page: its template, styles and script; `api.page` serves them."""
