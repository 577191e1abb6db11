//! What the parts of `exercises/tensors` may call.

use crate::SourceRule;

/// The puzzles: comparisons, `arange` and `matmul`, and what brings their operands into shape.
pub(super) const PUZZLE: SourceRule = SourceRule {
    #[rustfmt::skip]
    only: &[
        "arange", "ones_like", "zeros_like",
        "eq", "ne", "lt", "le", "gt", "ge", "where_cond",
        "broadcast_eq", "broadcast_ne", "broadcast_lt", "broadcast_le", "broadcast_gt",
        "broadcast_ge",
        "matmul",
        "unsqueeze", "squeeze", "reshape", "t", "transpose", "contiguous", "broadcast_as",
        "to_dtype",
        "dim", "dims", "dims1", "dims2", "rank", "dtype", "device",
        "rem_euclid",
    ],
    never: &[],
    reason: "A puzzle is made of comparisons, `arange` and `matmul` alone; the top of \
             `src/puzzles.rs` lists every call that it may make.",
};

/// `broadcast_shapes`: not candle's own.
pub(super) const NO_READY_SHAPES: SourceRule = SourceRule {
    only: &[],
    never: &["broadcast_shape_binary_op"],
    reason: "Candle's own rule would do the work; decide axis by axis.",
};

/// `broadcast_to`: nothing that repeats by itself.
pub(super) const NO_READY_BROADCAST: SourceRule = SourceRule {
    only: &[],
    #[rustfmt::skip]
    never: &[
        "broadcast_as", "broadcast_left", "expand", "repeat",
        "broadcast_add", "broadcast_sub", "broadcast_mul", "broadcast_div", "broadcast_pow",
        "broadcast_maximum", "broadcast_minimum", "broadcast_matmul",
    ],
    reason: "Candle's own broadcasting would do the work; find the strides and call \
             `strided_view`.",
};
