"""The recurrence ``h_t = s(W h_{t-1} + V x_t + c)``: what it is, its loop, its backends."""
