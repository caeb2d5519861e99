"""Many runs seen together."""
