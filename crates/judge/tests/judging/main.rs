//! The judge as a whole: it recognises what we know, passes what is right, and repeats itself.

mod programs;
mod recognition;
mod repeatable;
mod runs;
mod solutions;
