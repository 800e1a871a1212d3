"""JAX on the device of its default backend: each operator one jitted function."""
