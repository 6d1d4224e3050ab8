"""The TaskQueue resource: spec, status, conditions, names and the CRD document. Pure."""
