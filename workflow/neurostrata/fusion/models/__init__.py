"""The models: one module each, all behind one interface."""
