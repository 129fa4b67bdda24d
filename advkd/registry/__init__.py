"""Registry: a student as a versioned folder that diffusers loads, and the gate to `champion`."""
