"""Objects (files or S3), and the tables and arrays in them."""
