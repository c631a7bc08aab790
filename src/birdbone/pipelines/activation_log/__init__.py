"""The activation_log stage."""
