"""General support code, independent of diffusion: files, interrupts, settings, user code."""
