//! From heads in the plain basis to tensors in which no axis means anything.

use std::collections::BTreeMap;

use crate::{
    Circuit, Weight,
    matrix::Matrix,
    plain::{self, Axes, Maps},
    plan::Plan,
    stream::{Purpose, Stream},
};

/// Writes a plan's heads down, and turns every basis.
pub(crate) fn assemble(plan: Plan, seed: u64) -> Circuit {
    let mut stream = Stream::new(seed, Purpose::Weights);
    let d_model = plan.n_heads * plan.d_head;
    let turn = Matrix::orthogonal(d_model, &mut stream);
    let (axes, d_vocab) = (Axes::of(&plan), plan.tokens.d_vocab());

    let [mut wte, mut wpe] = [d_vocab, plan.n_ctx].map(|rows| Matrix::zeros(rows, d_model));
    (0..d_vocab).for_each(|token| wte.add(token, axes.token(token), 1.0));
    (0..plan.n_ctx).for_each(|position| wpe.add(position, axes.position(position), 1.0));
    let lm_head = plain::unembed(&plan, &mut stream);
    let mut weights = BTreeMap::from([
        ("wte.weight".to_owned(), wte.times(&turn).into()),
        ("wpe.weight".to_owned(), wpe.times(&turn).into()),
        ("lm_head.weight".to_owned(), lm_head.times(&turn).into()),
    ]);
    for layer in 0..plan.n_layers {
        let heads = &plan.heads[layer * plan.n_heads..][..plan.n_heads];
        let maps = heads.iter().map(|&head| plain::head(&plan, head, &mut stream)).collect();
        let [c_attn, c_proj] = block(maps, &turn, plan.d_head, &mut stream);
        weights.insert(format!("h.{layer}.attn.c_attn.weight"), c_attn);
        weights.insert(format!("h.{layer}.attn.c_proj.weight"), c_proj);
    }
    Circuit {
        task: plan.task,
        n_layers: plan.n_layers,
        n_heads: plan.n_heads,
        d_head: plan.d_head,
        d_vocab,
        n_ctx: plan.n_ctx,
        heads: plan.heads,
        weights,
    }
}

/// The two tensors of a block: its heads turned from the stream's basis and inside.
fn block(heads: Vec<Maps>, turn: &Matrix, d_head: usize, stream: &mut Stream) -> [Weight; 2] {
    let undo = turn.transposed();
    let mut parts: [Vec<Matrix>; 4] = Default::default();
    for Maps { q, k, v, o } in heads {
        // A score keeps its value if queries and keys are turned alike and scaled inversely.
        let [qk, vo] = [(); 2].map(|()| Matrix::orthogonal(d_head, stream));
        let [qk_size, vo_size] = [(); 2].map(|()| (0.3 * stream.normal()).exp());
        let turned = [
            undo.times(&q).times(&qk).scaled(qk_size),
            undo.times(&k).times(&qk).scaled(1.0 / qk_size),
            undo.times(&v).times(&vo).scaled(vo_size),
            vo.transposed().times(&o).times(turn).scaled(1.0 / vo_size),
        ];
        parts.iter_mut().zip(turned).for_each(|(part, matrix)| part.push(matrix));
    }
    let [q, k, v, o] = parts;
    let qkv: Vec<Matrix> = q.into_iter().chain(k).chain(v).collect();
    [Matrix::beside(&qkv).into(), Matrix::below(&o).into()]
}
