"""The recurrence and its adjoint on a GPU, as Triton programs."""
