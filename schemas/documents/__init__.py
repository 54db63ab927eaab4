"""Documents of the wire, generated from the code: SBE's XML schema and JSON Schemas.

Regenerate with ``python -m tidemill.streams.documents``; a test fails while they are not current.
"""
