"""The recurrence ``h_t = a(x_t) M(x_t) h_{t-1} + b(x_t)``: what it is, its loop, its backends."""
