"""What measuring and remembering cost: the work of the scenarios ``overhead`` and ``memory`` of suite ``noop``."""
