//! Serves the parts of this solution to the judge.

wick::serve!(sample_exercise_solution);
