"""What is kept: `home` the folder, `ledger` the store of all runs, `report` how they are shown."""
