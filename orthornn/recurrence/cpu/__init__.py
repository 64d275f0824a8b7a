"""The recurrence and its adjoint in C, compiled for this processor at first use."""
