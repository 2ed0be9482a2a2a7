"""What tests share beside fixtures: brokers to start and kill, and waiting on conditions."""
