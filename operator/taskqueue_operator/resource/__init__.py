"""What a user writes and reads: spec, status, conditions, names and the CRD document. Pure."""
