//! Named arguments of a question.

/// Names the arguments of a question in the order of the part's signature.
///
/// `args![q: &q, k: &k, mask: None::<&Array>, block: 4usize]`
#[macro_export]
macro_rules! args {
    ($($name:ident : $value:expr),* $(,)?) => {
        vec![$((stringify!($name), ::protocol::Value::from($value))),*]
    };
}
