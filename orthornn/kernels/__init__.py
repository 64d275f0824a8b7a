"""The recurrence and its adjoint for one kind of machine each, outside torch's own operations."""
