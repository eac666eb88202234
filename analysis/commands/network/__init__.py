"""Commands that take one network: run it, lower it, trace it, train it, serve it, ask why it costs what it does."""
