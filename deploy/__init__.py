"""How it runs: the command line, embedded servers, the supervisor, the simulated exchange."""
