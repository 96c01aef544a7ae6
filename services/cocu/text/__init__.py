"""Text from users: encodings, delimited tables, names. The readers and the client share it."""
