"""The loop: metrics, cycles, the oracle, the gate, efficiency, diversity, curriculum."""
