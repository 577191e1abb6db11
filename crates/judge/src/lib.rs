//! The trusted end: asks, compares, recognises, reports.
