"""What many agents do that one does not: decide better, spread knowledge, divide labour, follow one another."""
