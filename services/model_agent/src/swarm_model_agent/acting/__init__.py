"""How an agent takes its turn: what it is asked, which tools it may use, what is recorded of it."""
