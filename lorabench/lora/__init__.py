"""The LoRA adapter: its layout, its writer, and what learns it."""
