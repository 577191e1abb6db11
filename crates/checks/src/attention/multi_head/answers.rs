//! Wrong and right answers to `multi_head_attention`.

use answer::{Weights, answer};
use candle_core::{D, Tensor};

use super::super::{
    layer::{Steps, Streams, head_by_head, linear, projected, with_bias},
    steps::{fill, masked_softmax, merge, mix, pattern, scaled, softmax_without_backward, split},
};
use crate::{Alternative, Impostor};

/// An answer with one step that may differ from the honest one.
macro_rules! layer {
    ($($step:ident: $function:expr),* $(,)?) => {
        answer!(|weights: &Weights,
                 resid_pre: &Tensor,
                 source: Option<&Tensor>,
                 n_heads: usize,
                 mask: Option<&Tensor>| {
            #[allow(clippy::needless_update, reason = "an honest layer spoils nothing")]
            let steps = Steps { $($step: $function,)* ..Steps::HONEST };
            steps.run(weights, Streams { resid_pre, source }, n_heads, mask)
        })
    };
}

pub(super) const IMPOSTORS: &[Impostor] = &[
    Impostor {
        name: "output_not_projected",
        diagnosis: "the merged heads come back as they are; `o.weight` still has to mix them",
        caught_by: "documented_example",
        answer: layer!(output: |_, z| merge(z)),
    },
    Impostor {
        name: "output_bias_forgotten",
        diagnosis: "`o.bias` is not added",
        caught_by: "documented_example",
        answer: layer!(output: |weights, z| linear(&merge(z)?, weights.get("o.weight")?, None)),
    },
    Impostor {
        name: "residual_added",
        diagnosis: "`resid_pre` is added to the result; the block around the layer does that",
        caught_by: "documented_example",
        answer: answer!(|weights: &Weights,
                         resid_pre: &Tensor,
                         source: Option<&Tensor>,
                         n_heads: usize,
                         mask: Option<&Tensor>| {
            let streams = Streams { resid_pre, source };
            resid_pre + Steps::HONEST.run(weights, streams, n_heads, mask)?
        }),
    },
    Impostor {
        name: "values_not_projected",
        diagnosis: "the source itself is mixed; the values are its projection by `v.weight`",
        caught_by: "future_cannot_change_past",
        answer: layer!(v: |_, streams| Ok(streams.source().clone())),
    },
    Impostor {
        name: "mask_not_handed_on",
        diagnosis: "the mask is not handed on, so the future leaks into the past",
        caught_by: "future_cannot_change_past",
        answer: layer!(attend: |[q, k, v], _| mix(&pattern(q, k, None)?, v)),
    },
    Impostor {
        name: "mask_after_softmax",
        diagnosis: "the mask is applied after the softmax, so later positions still take a \
                        share of each row",
        caught_by: "future_cannot_change_past",
        answer: layer!(
            attend: |[q, k, v], mask| mix(&fill(&pattern(q, k, None)?, mask, 0.0)?, v),
        ),
    },
    Impostor {
        name: "softmax_over_queries",
        diagnosis: "the softmax runs over the queries, so later ones change earlier results; \
                        it must run over the keys",
        caught_by: "future_cannot_change_past",
        answer: layer!(attend: |[q, k, v], mask| {
            let hidden = fill(&scaled(q, k)?, mask, f64::from(f32::MIN))?;
            mix(&candle_nn::ops::softmax(&hidden, D::Minus2)?, v)
        }),
    },
    Impostor {
        name: "weights_not_transposed",
        diagnosis: "`x weight` is computed; the rows of a weight are outputs, so it is \
                        `x weightᵀ`",
        caught_by: "future_cannot_change_past",
        answer: layer!(q: |weights, streams| {
            let x = streams.resid_pre.contiguous()?;
            with_bias(&x.broadcast_matmul(weights.get("q.weight")?)?, weights.find("q.bias"))
        }),
    },
    Impostor {
        name: "split_without_transpose",
        diagnosis: "a reshape straight to `(batch, n_heads, seq, d_head)` mixes positions into \
                        heads; use `split_heads`",
        caught_by: "documented_example",
        answer: layer!(split: |x, n_heads| {
            let (batch, seq, width) = x.dims3()?;
            x.reshape((batch, n_heads, seq, width / n_heads))
        }),
    },
    Impostor {
        name: "merged_without_transpose",
        diagnosis: "the heads are joined while they still stand before the positions; use \
                        `merge_heads`",
        caught_by: "documented_example",
        answer: layer!(output: |weights, z| {
            let (batch, n_heads, seq, d_head) = z.dims4()?;
            projected(weights, "o", &z.reshape((batch, seq, n_heads * d_head))?)
        }),
    },
    Impostor {
        name: "one_wide_head",
        diagnosis: "the width is not split, so one wide head attends for all",
        caught_by: "heads_work_alone",
        answer: layer!(split: |x, _| split(x, 1)),
    },
    Impostor {
        name: "heads_interleaved",
        diagnosis: "every n_heads-th number goes to one head; a head is a run of neighbours",
        caught_by: "heads_work_alone",
        answer: layer!(
            split: |x, n_heads| {
                let (batch, seq, width) = x.dims3()?;
                x.reshape((batch, seq, width / n_heads, n_heads))?.permute((0, 3, 1, 2))
            },
        ),
    },
    Impostor {
        name: "scaled_by_d_model",
        diagnosis: "the scores are divided by √(n_heads · d_head); each head divides by \
                        √d_head",
        caught_by: "matches_definition",
        answer: layer!(attend: |[q, k, v], mask| {
            let scores = (scaled(q, k)? / (q.dim(1)? as f64).sqrt())?;
            mix(&masked_softmax(&scores, mask)?, v)
        }),
    },
    Impostor {
        name: "query_bias_forgotten",
        diagnosis: "`q.bias` is not added",
        caught_by: "matches_definition",
        answer: layer!(
            q: |weights, streams| linear(streams.resid_pre, weights.get("q.weight")?, None),
        ),
    },
    Impostor {
        name: "value_bias_forgotten",
        diagnosis: "`v.bias` is not added",
        caught_by: "matches_definition",
        answer: layer!(
            v: |weights, streams| linear(streams.source(), weights.get("v.weight")?, None),
        ),
    },
    Impostor {
        name: "keys_for_values",
        diagnosis: "the keys are mixed in place of the values",
        caught_by: "documented_example",
        answer: layer!(v: |weights, streams| projected(weights, "k", streams.source())),
    },
    Impostor {
        name: "queries_and_keys_swapped",
        diagnosis: "`q.weight` and `k.weight` are swapped",
        caught_by: "matches_definition",
        answer: layer!(
            q: |weights, streams| projected(weights, "k", streams.resid_pre),
            k: |weights, streams| projected(weights, "q", streams.source()),
        ),
    },
    Impostor {
        name: "biases_required",
        diagnosis: "it fails without a bias; look biases up with `find`, since each may be \
                        absent",
        caught_by: "documented_example",
        answer: layer!(q: |weights, streams| {
            let bias = weights.get("q.bias")?;
            linear(streams.resid_pre, weights.get("q.weight")?, Some(bias))
        }),
    },
    Impostor {
        name: "source_ignored",
        diagnosis: "`source` is not used, so the layer only reads its own stream",
        caught_by: "keys_and_values_come_from_source",
        answer: answer!(|weights: &Weights,
                         resid_pre: &Tensor,
                         _source: Option<&Tensor>,
                         n_heads: usize,
                         mask: Option<&Tensor>| {
            let streams = Streams { resid_pre, source: None };
            Steps::HONEST.run(weights, streams, n_heads, mask)
        }),
    },
    Impostor {
        name: "queries_from_source",
        diagnosis: "the queries come from `source` too; the stream that reads asks, the other \
                        answers",
        caught_by: "keys_and_values_come_from_source",
        answer: layer!(q: |weights, streams| projected(weights, "q", streams.source())),
    },
    Impostor {
        name: "values_from_resid_pre",
        diagnosis: "only the keys come from `source`; the values must too",
        caught_by: "keys_and_values_come_from_source",
        answer: layer!(v: |weights, streams| projected(weights, "v", streams.resid_pre)),
    },
    Impostor {
        name: "softmax_without_backward",
        diagnosis: "`softmax_last_dim` passes no gradient back; use `candle_nn::ops::softmax`",
        caught_by: "gradient_reaches_every_weight",
        answer: layer!(attend: |[q, k, v], mask| {
            let hidden = fill(&scaled(q, k)?, mask, f64::from(f32::MIN))?;
            mix(&softmax_without_backward(&hidden)?, v)
        }),
    },
    Impostor {
        name: "weights_detached",
        diagnosis: "the weights leave the graph (`detach`), so they cannot be trained",
        caught_by: "gradient_reaches_every_weight",
        answer: layer!(output: |weights, z| {
            let weight = weights.get("o.weight")?.detach();
            linear(&merge(z)?, &weight, weights.find("o.bias"))
        }),
    },
    Impostor {
        name: "divided_by_zero",
        diagnosis: "with 0 heads the division panics; return an error before it",
        caught_by: "bad_weights_are_refused",
        answer: layer!(split: |x, n_heads| {
            let (batch, seq, width) = x.dims3()?;
            x.reshape((batch, seq, n_heads, width / n_heads))?.transpose(1, 2)
        }),
    },
];

pub(super) const ALTERNATIVES: &[Alternative] = &[
    Alternative { name: "step_by_step", answer: layer!() },
    Alternative {
        name: "head_by_head",
        answer: answer!(|weights: &Weights,
                         resid_pre: &Tensor,
                         source: Option<&Tensor>,
                         n_heads: usize,
                         mask: Option<&Tensor>| {
            head_by_head(weights, Streams { resid_pre, source }, n_heads, mask)
        }),
    },
];
