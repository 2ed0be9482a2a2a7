"""The primitives suite's measurements: cases, and the harness that times them."""
