//! Pictures of what goes on in a model: from numbers and words to one HTML page.
//!
//! Each function takes data and returns a whole page, with its style and, where one hovers, its
//! script inside.
//! A page follows the reader's dark or light setting, fits a phone, and tells nothing by colour
//! alone: every number can be read, too.
//!
//! **Invariant:** a page asks the network for nothing, and no text that comes in can become markup.

mod attention;
mod board;
mod heat;
mod lens;
mod lines;
mod page;

pub use attention::{HeadPattern, attention_patterns};
pub use board::{Belief, Disc, othello_board};
pub use heat::patching;
pub use lens::{Guess, logit_lens};
pub use lines::{Line, probe_accuracy};
