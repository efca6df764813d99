"""Start a target: `stage` lays out the agent, `here` runs a command on this machine and passes signals on."""
