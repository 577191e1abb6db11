//! Serves the parts of this exercise to the judge.

wick::serve!(probing);
