"""Where things are kept: catalog (SQL), objects (files or S3), tables (Arrow), vectors (Qdrant)."""
