//! Starts a subject that can compute and nothing else.
