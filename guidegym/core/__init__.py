"""The reverse diffusion process, guided: its state, the networks' prediction, the engine of one step, the sampler of all."""
