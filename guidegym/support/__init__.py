"""What everything rests on and nothing of diffusion is in: files, interrupts, settings, code of users."""
