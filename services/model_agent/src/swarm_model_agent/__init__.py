"""Does the work: trains and predicts with models, acts with an LLM."""
