//! What right means: one module an exercise, with its checks and impostors.
