//! Solution of the exercise attention.
