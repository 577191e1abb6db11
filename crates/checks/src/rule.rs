//! What the source of a part may not do, beside being right.

/// A rule about calls in a part's source, its private helpers included.
///
/// The last segment of a call's path or method name is what counts.
#[derive(Clone, Copy, Debug)]
pub struct SourceRule {
    /// If not empty, only these may be called, beside other parts and plain Rust control flow.
    pub only: &'static [&'static str],
    /// These may not be called.
    pub never: &'static [&'static str],
    /// Why, as a sentence for the learner.
    pub reason: &'static str,
}
