"""What the agent left in the spool folder -> records: `reader` its messages, `pages` the pages of loader workers."""
