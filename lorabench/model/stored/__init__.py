"""Tensors on disk, in all forms in which people keep trained tables; read in parts, run nothing."""
