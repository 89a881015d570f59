"""What is said of a result: a function a section, in modules by what they are about."""
