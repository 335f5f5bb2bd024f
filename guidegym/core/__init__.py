"""The guided reverse diffusion process: its state, the networks' predictions, the engine of one step, the full sampler."""
