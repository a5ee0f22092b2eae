"""Results reviewed by a reader: decisions as a table, applied to a session, compared with another reader's."""
