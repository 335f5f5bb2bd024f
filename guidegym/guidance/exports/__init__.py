"""Found guidance in other libraries; only ``diffusers_guider`` imports one."""
