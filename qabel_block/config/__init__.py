"""The operator's choices: options, their values, the configuration."""
