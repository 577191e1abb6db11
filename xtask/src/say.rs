//! Printing to standard output, coloured where that is wanted.
//!
//! **Invariant:** a reader that goes away (`| head`) ends nothing with a panic.

/// Prints a line.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(anstream::stdout(), $($text)*);
    }};
}

/// Prints without ending the line.
macro_rules! say_as_is {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(anstream::stdout(), $($text)*);
    }};
}
