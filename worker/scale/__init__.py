"""The same reader in other processes: helpers on this machine, which ask the worker for what its networks say."""
