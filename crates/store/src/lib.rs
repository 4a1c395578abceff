//! Revisions, compare-and-commit and watch over the model
