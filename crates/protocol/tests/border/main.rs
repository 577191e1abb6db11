//! The decoder against everything that may come across the border: nothing makes it panic, and
//! nothing makes it take more memory than its bound.

mod allocation;
mod arbitrary;
mod counting;
mod hostile;
mod round_trip;
