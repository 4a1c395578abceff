//! The color app: a front and its colors.
