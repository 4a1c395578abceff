//! Nouns of the mesh and of the registry, and the rules that govern them
