//! The attribute #[part].
