"""What the benches share: pairs and their ratios, the machine's load, servers to measure on."""
