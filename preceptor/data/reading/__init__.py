"""Raw sources of any format as documents, streamed, with every file, record and failure accounted for."""
