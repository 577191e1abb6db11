//! `topological_order`: nodes after those that they are made from.

use answer::answer;
use candle_core::{Result, bail};

use crate::{Alternative, Check, Impostor, Kind, Outcome, Part, Stop, Trial, args};

pub(super) const TOPOLOGICAL_ORDER: Part = Part {
    name: "topological_order",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out in one of its two orders.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "each_node_comes_once",
            promise: "Every node is in the order once, whether it has edges or not.",
            kind: Kind::Property,
            run: each_node_comes_once,
        },
        Check {
            name: "parents_come_first",
            promise: "No node comes before one that it is made from.",
            kind: Kind::Property,
            run: parents_come_first,
        },
        Check {
            name: "long_chains_fit",
            promise: "A chain of 40,000 nodes is ordered as well.",
            kind: Kind::Property,
            run: long_chains_fit,
        },
        Check {
            name: "a_cycle_is_named",
            promise: "A cycle gives an error that names its nodes in order, and no others.",
            kind: Kind::Errors,
            run: a_cycle_is_named,
        },
        Check {
            name: "bad_edges_are_refused",
            promise: "An edge to nowhere, or half an edge, gives an error.",
            kind: Kind::Errors,
            run: bad_edges_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "reversed",
            diagnosis: "the order is the wrong way round: children come first",
            caught_by: "documented_example",
            answer: answer!(|n: usize, edges: &[usize]| {
                let mut order = by_counting(n, edges)?;
                order.reverse();
                Ok::<_, candle_core::Error>(order)
            }),
        },
        Impostor {
            name: "nodes_without_edges_missing",
            diagnosis: "a node that no edge names is left out",
            caught_by: "each_node_comes_once",
            answer: answer!(|n: usize, edges: &[usize]| {
                let order = by_counting(n, edges)?;
                let named = |node: &usize| edges.contains(node) || n > 1000;
                Ok::<_, candle_core::Error>(order.into_iter().filter(named).collect::<Vec<_>>())
            }),
        },
        Impostor {
            name: "once_for_each_use",
            diagnosis: "a node that two others are made from is listed twice; mark what is done",
            caught_by: "documented_example",
            answer: answer!(|n: usize, edges: &[usize]| {
                let mut order = by_counting(n, edges)?;
                if n <= 1000 {
                    let uses = |node| edges.iter().step_by(2).filter(|&&from| from == node).count();
                    order =
                        order.into_iter().flat_map(|node| vec![node; uses(node).max(1)]).collect();
                }
                Ok::<_, candle_core::Error>(order)
            }),
        },
        Impostor {
            name: "double_edges_block",
            diagnosis: "an edge that is there twice counts twice, but is taken away only once, so \
                        its node never comes",
            caught_by: "each_node_comes_once",
            answer: answer!(|n: usize, edges: &[usize]| with_double_edges(n, edges)),
        },
        Impostor {
            name: "in_order_of_depth",
            diagnosis: "nodes are ordered by their shortest way from a start; a node must wait for \
                        its longest",
            caught_by: "parents_come_first",
            answer: answer!(|n: usize, edges: &[usize]| by_shortest_way(n, edges)),
        },
        Impostor {
            name: "gives_up_in_the_deep",
            diagnosis: "it calls itself once a node and gives up at a depth of 1,000; keep a list \
                        of what is to be done instead",
            caught_by: "long_chains_fit",
            answer: answer!(|n: usize, edges: &[usize]| {
                if depth(n, edges) > 1000 {
                    anyhow::bail!("too deep");
                }
                by_counting(n, edges)
            }),
        },
        Impostor {
            name: "cycle_left_out",
            diagnosis: "the nodes of a cycle are left out without an error",
            caught_by: "a_cycle_is_named",
            answer: answer!(|n: usize, edges: &[usize]| {
                Ok::<_, candle_core::Error>(sorted(n, edges)?.0)
            }),
        },
        Impostor {
            name: "cycle_not_named",
            diagnosis: "the error says that there is a cycle, but not where",
            caught_by: "a_cycle_is_named",
            answer: answer!(|n: usize, edges: &[usize]| {
                let (order, _) = sorted(n, edges)?;
                if order.len() < n {
                    anyhow::bail!("the graph has a cycle");
                }
                Ok::<_, candle_core::Error>(order)
            }),
        },
        Impostor {
            name: "whole_rest_named",
            diagnosis: "everything that could not be ordered is named, what hangs on the cycle \
                        too",
            caught_by: "a_cycle_is_named",
            answer: answer!(|n: usize, edges: &[usize]| {
                let (order, rest) = sorted(n, edges)?;
                if order.len() < n {
                    anyhow::bail!("there is a cycle: {}", join(&rest));
                }
                Ok::<_, candle_core::Error>(order)
            }),
        },
        Impostor {
            name: "named_against_the_edges",
            diagnosis: "the nodes of the cycle are named against its edges",
            caught_by: "a_cycle_is_named",
            answer: answer!(|n: usize, edges: &[usize]| {
                let (order, rest) = sorted(n, edges)?;
                if order.len() < n {
                    let mut cycle = cycle(edges, &rest);
                    cycle.reverse();
                    anyhow::bail!("there is a cycle: {}", join(&cycle));
                }
                Ok::<_, candle_core::Error>(order)
            }),
        },
        Impostor {
            name: "half_an_edge_dropped",
            diagnosis: "a last edge without its second half is dropped without a word",
            caught_by: "bad_edges_are_refused",
            answer: answer!(|n: usize, edges: &[usize]| {
                by_counting(n, &edges[..edges.len() / 2 * 2])
            }),
        },
        Impostor {
            name: "edges_to_nowhere_dropped",
            diagnosis: "an edge to a node that does not exist is dropped without a word",
            caught_by: "bad_edges_are_refused",
            answer: answer!(|n: usize, edges: &[usize]| {
                let (pairs, rest) = edges.as_chunks::<2>();
                let real = pairs.iter().filter(|pair| pair.iter().all(|&node| node < n));
                let kept = real.flatten().chain(rest).copied();
                by_counting(n, &kept.collect::<Vec<_>>())
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "by_counting",
        answer: answer!(|n: usize, edges: &[usize]| by_counting(n, edges)),
    }],
};

/// Takes away, again and again, a node that waits for nothing.
fn by_counting(n: usize, edges: &[usize]) -> Result<Vec<usize>> {
    let (order, rest) = sorted(n, edges)?;
    if order.len() < n {
        bail!("there is a cycle: {}", join(&cycle(edges, &rest)));
    }
    Ok(order)
}

/// What can be ordered, and what cannot.
fn sorted(n: usize, edges: &[usize]) -> Result<(Vec<usize>, Vec<usize>)> {
    if !edges.len().is_multiple_of(2) || edges.iter().any(|&node| node >= n) {
        bail!("these are no edges between {n} nodes");
    }
    let (mut waits, mut children) = (vec![0usize; n], vec![Vec::new(); n]);
    for edge in edges.chunks(2) {
        waits[edge[1]] += 1;
        children[edge[0]].push(edge[1]);
    }
    let mut ready: Vec<usize> = (0..n).filter(|&node| waits[node] == 0).collect();
    let mut order = Vec::new();
    while let Some(node) = ready.pop() {
        order.push(node);
        for &child in &children[node] {
            waits[child] -= 1;
            if waits[child] == 0 {
                ready.push(child);
            }
        }
    }
    let rest = (0..n).filter(|&node| waits[node] > 0).collect();
    Ok((order, rest))
}

/// One cycle among nodes that all wait: going from each to one that it waits for ends in one.
fn cycle(edges: &[usize], rest: &[usize]) -> Vec<usize> {
    let parent = |node: usize| {
        let from = edges.chunks(2).find(|edge| edge[1] == node && rest.contains(&edge[0]));
        from.map_or(node, |edge| edge[0])
    };
    let mut path = vec![rest[0]];
    loop {
        let next = parent(path[path.len() - 1]);
        if let Some(at) = path.iter().position(|&node| node == next) {
            path.push(next);
            path.drain(..at);
            path.reverse();
            return path;
        }
        path.push(next);
    }
}

fn join(nodes: &[usize]) -> String {
    nodes.iter().map(usize::to_string).collect::<Vec<_>>().join(" → ")
}

fn with_double_edges(n: usize, edges: &[usize]) -> Result<Vec<usize>> {
    let (order, rest) = sorted(n, edges)?;
    if order.len() < n {
        bail!("there is a cycle: {}", join(&cycle(edges, &rest)));
    }
    if n > 1000 {
        return Ok(order);
    }
    let pairs: Vec<&[usize]> = edges.chunks(2).collect();
    let doubled = |node: usize| {
        let to = pairs.iter().filter(|pair| pair[1] == node);
        to.clone().any(|pair| pairs.iter().filter(|other| *other == pair).count() > 1)
    };
    Ok(order.into_iter().filter(|&node| !doubled(node)).collect())
}

fn by_shortest_way(n: usize, edges: &[usize]) -> Result<Vec<usize>> {
    let order = by_counting(n, edges)?;
    if n > 1000 {
        return Ok(order);
    }
    let mut way = vec![0usize; n];
    for &node in &order {
        let parents = edges.chunks(2).filter(|edge| edge[1] == node).map(|edge| way[edge[0]] + 1);
        way[node] = parents.min().unwrap_or(0);
    }
    let mut nodes: Vec<usize> = (0..n).collect();
    nodes.sort_by_key(|&node| way[node]);
    Ok(nodes)
}

/// The longest run of edges of the form `i → i + 1`, as chains have.
fn depth(n: usize, edges: &[usize]) -> usize {
    if edges.len() < n { 0 } else { n.min(edges.len()) }
}

fn documented_example(trial: &mut Trial) -> Outcome {
    let order = is_order(trial, 4, &[3, 1, 3, 0, 1, 2, 0, 2])?;
    trial.ensure(order == [3, 0, 1, 2] || order == [3, 1, 0, 2], || {
        format!("The order is {order:?}; expected [3, 0, 1, 2] or [3, 1, 0, 2].")
    })
}

fn each_node_comes_once(trial: &mut Trial) -> Outcome {
    is_order(trial, 0, &[])?;
    is_order(trial, 3, &[])?;
    // An edge that is there twice, as in x · x.
    is_order(trial, 3, &[1, 0, 1, 0])?;
    is_order(trial, 5, &[4, 2, 2, 0]).map(drop)
}

fn parents_come_first(trial: &mut Trial) -> Outcome {
    // A short cut past a long way.
    is_order(trial, 5, &[0, 1, 1, 2, 2, 3, 0, 4, 3, 4])?;
    for n in [6, 12, 30] {
        let edges = random_edges(trial, n);
        is_order(trial, n, &edges)?;
    }
    Ok(())
}

fn long_chains_fit(trial: &mut Trial) -> Outcome {
    const N: usize = 40_000;
    let down: Vec<usize> = (1..N).rev().flat_map(|node| [node, node - 1]).collect();
    is_order(trial, N, &down).map(drop)
}

fn a_cycle_is_named(trial: &mut Trial) -> Outcome {
    // 0 → 1 → 2 → 0 with something before it and something behind; a node made from itself.
    let cases: [(usize, &[usize]); 3] =
        [(6, &[3, 0, 0, 1, 1, 2, 2, 0, 2, 4, 4, 5]), (2, &[0, 1, 1, 1]), (4, &[2, 3, 3, 2, 0, 1])];
    for (n, edges) in cases {
        let said = trial.refuses("there is a cycle", args![n: n, edges: edges])?;
        let named = named(&said);
        let is_edge = |pair: &[usize]| edges.chunks(2).any(|edge| edge == pair);
        let is_cycle = named.len() > 1
            && named.first() == named.last()
            && named.windows(2).all(is_edge)
            && (1..named.len()).all(|n| !named[1..n].contains(&named[n]));
        trial.ensure(is_cycle, || {
            format!(
                "The edges {edges:?} have a cycle, and the error says: {}. It should name the \
                 nodes of one cycle in order, such as `3 → 5 → 4 → 3`.",
                said.lines().next().unwrap_or_default()
            )
        })?;
    }
    Ok(())
}

/// The nodes that an error names, as `3 → 5 → 4 → 3`.
fn named(said: &str) -> Vec<usize> {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut pieces = said.split('→').map(str::trim);
    let first = pieces.next().unwrap_or_default();
    let first = &first[first.trim_end_matches(is_digit).len()..];
    let rest = pieces.map(|piece| &piece[..piece.len() - piece.trim_start_matches(is_digit).len()]);
    std::iter::once(first).chain(rest).filter_map(|number| number.parse().ok()).collect()
}

fn bad_edges_are_refused(trial: &mut Trial) -> Outcome {
    trial.refuses("there is no node 3", args![n: 3usize, edges: &[0usize, 3][..]])?;
    trial.refuses("an edge has no second half", args![n: 3usize, edges: &[0usize, 1, 2][..]])?;
    Ok(())
}

/// Edges from nodes to others that are later in a random order.
fn random_edges(trial: &mut Trial, n: usize) -> Vec<usize> {
    let order = trial.rng.permutation(n);
    let mut edges = Vec::new();
    for to in 1..n {
        for _ in 0..=trial.rng.below(3) {
            edges.extend([order[trial.rng.below(to)], order[to]]);
        }
    }
    edges
}

/// Asks for an order, and proves that it is one.
fn is_order(trial: &mut Trial, n: usize, edges: &[usize]) -> std::result::Result<Vec<usize>, Stop> {
    let order = trial.ints(args![n: n, edges: edges])?;
    let mut place = vec![None; n];
    for (at, &node) in order.iter().enumerate() {
        let slot = usize::try_from(node).ok().and_then(|node| place.get_mut(node));
        let Some(slot) = slot else {
            return Err(trial.wrong(format!("The order has a node {node}; there are {n}.")));
        };
        if let Some(earlier) = slot.replace(at) {
            return Err(trial.wrong(format!("Node {node} comes at {earlier} and again at {at}.")));
        }
    }
    if let Some(node) = place.iter().position(Option::is_none) {
        return Err(trial.wrong(format!("Node {node} of {n} is not in the order.")));
    }
    if let Some(edge) = edges.chunks(2).find(|edge| place[edge[0]] > place[edge[1]]) {
        let (from, to) = (edge[0], edge[1]);
        return Err(trial.wrong(format!("Node {to} is made from {from}, but comes before it.")));
    }
    Ok(order.iter().map(|&node| node as usize).collect())
}
