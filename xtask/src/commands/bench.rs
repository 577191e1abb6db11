//! `bench loop`: from a real edit to the printed verdict, in a scratch copy.
