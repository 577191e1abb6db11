//! `contract`: einsum for two operands.

use answer::answer;
use candle_core::{DType as CandleDType, Result, Tensor, bail};
use protocol::DType;

use crate::{
    Alternative, Array, Check, Generator, Impostor, Kind, Outcome, Part, Tolerance, Trial, args,
};

pub(super) const CONTRACT: Part = Part {
    name: "contract",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "other_letters_change_nothing",
            promise: "The same spec in other letters, capitals and Greek ones too, gives the same.",
            kind: Kind::Property,
            run: other_letters_change_nothing,
        },
        Check {
            name: "swapping_operands_changes_nothing",
            promise: "The operands may change places if their letters do.",
            kind: Kind::Property,
            run: swapping_operands_changes_nothing,
        },
        Check {
            name: "matches_definition",
            promise: "Any spec gives the sums of products over the letters that it leaves out.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "gradient_reaches_a_and_b",
            promise: "The gradient reaches `a` and `b`, and is the right one.",
            kind: Kind::Gradient,
            run: gradient_reaches_a_and_b,
        },
        Check {
            name: "bad_specs_are_refused",
            promise: "A spec that is malformed or does not fit the shapes gets an error.",
            kind: Kind::Errors,
            run: bad_specs_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "result_in_order_of_the_matmul",
            diagnosis: "the axes of the result are left as the matmul makes them; they must stand \
                        in the order of the letters after the arrow",
            caught_by: "documented_example",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| multiplied(
                spec,
                a,
                b,
                Slip::Order
            )),
        },
        Impostor {
            name: "table_of_small_letters",
            diagnosis: "letters are looked up in a table from a to z, so that any other panics",
            caught_by: "other_letters_change_nothing",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| {
                let letters = spec.chars().filter(|letter| letter.is_alphabetic());
                let mut sizes = [0; 26];
                letters.for_each(|letter| sizes[letter as usize - 'a' as usize] += 1);
                by_broadcasting(spec, a, b)
            }),
        },
        Impostor {
            name: "lone_letters_of_b_forgotten",
            diagnosis: "a letter that stands in `b` alone is not summed, only one that stands in \
                        `a` alone",
            caught_by: "swapping_operands_changes_nothing",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| {
                let (left, _, _) = lists(spec)?;
                summed_if(spec, a, b, |letter| left.contains(&letter))
            }),
        },
        Impostor {
            name: "lone_letters_forgotten",
            diagnosis: "a letter that stands in one operand alone, and not in the result, is not \
                        summed",
            caught_by: "swapping_operands_changes_nothing",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| {
                let (left, right, _) = lists(spec)?;
                summed_if(spec, a, b, |l| left.contains(&l) && right.contains(&l))
            }),
        },
        Impostor {
            name: "reshape_for_permute",
            diagnosis: "the product is brought to the result's shape by a reshape, which renames \
                        axes and leaves the values where they were; it takes a permute",
            caught_by: "other_letters_change_nothing",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| {
                multiplied(spec, a, b, Slip::Reshape)
            }),
        },
        Impostor {
            name: "summed_axes_in_each_own_order",
            diagnosis: "two summed letters that stand in another order in `b` than in `a` are \
                        paired wrongly; both operands must be permuted to one order",
            caught_by: "matches_definition",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| {
                multiplied(spec, a, b, Slip::Pairing)
            }),
        },
        Impostor {
            name: "batch_letters_summed",
            diagnosis: "every letter that stands in both operands is summed; one that stands in \
                        the result too is a batch axis",
            caught_by: "matches_definition",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| {
                let (left, right, _) = lists(spec)?;
                let (inputs, output) = spec.split_once("->").unwrap_or_default();
                let shared = |l: char| left.contains(&l) && right.contains(&l);
                let rest: String = output.chars().filter(|&l| !shared(l)).collect();
                by_broadcasting(&format!("{inputs}->{rest}"), a, b)
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "everything is converted to f32; the dtype must come from the inputs",
            caught_by: "documented_example",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| {
                let single = |x: &Tensor| x.to_dtype(CandleDType::F32);
                by_broadcasting(spec, &single(a)?, &single(b)?)
            }),
        },
        Impostor {
            name: "through_vectors",
            diagnosis: "the values are taken out of the tensors and put into a new one, which \
                        cuts the gradient",
            caught_by: "gradient_reaches_a_and_b",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| {
                by_broadcasting(spec, a, b).map(|result| result.detach())
            }),
        },
        Impostor {
            name: "size_one_stretched",
            diagnosis: "sizes are never compared, so an axis of size 1 is stretched to fit",
            caught_by: "bad_specs_are_refused",
            answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| by_broadcasting(spec, a, b)),
        },
    ],
    alternatives: &[Alternative {
        name: "broadcast_multiply_sum",
        answer: answer!(|spec: &str, a: &Tensor, b: &Tensor| checked_broadcasting(spec, a, b)),
    }],
};

/// Specs that a network needs, and those that break a careless permute.
const SPECS: &[(&str, &[usize], &[usize])] = &[
    ("bij,bjk->bik", &[2, 3, 4], &[2, 4, 5]),
    ("bqhd,bkhd->bhqk", &[2, 3, 2, 4], &[2, 5, 2, 4]),
    ("abc,cbd->da", &[2, 3, 4], &[4, 3, 2]),
    ("i,j->ji", &[3], &[4]),
    ("i,i->", &[5], &[5]),
    ("ij,ij->ji", &[2, 3], &[2, 3]),
    ("ij,k->k", &[2, 3], &[4]),
    (",ab->ba", &[], &[2, 3]),
    ("a,a->a", &[1], &[1]),
];

fn documented_example(trial: &mut Trial) -> Outcome {
    let (a, b) = (Array::matrix(&[[1., 2.]]), Array::matrix(&[[1., 2., 3.], [4., 5., 6.]]));
    let result = trial.array(args![spec: "ij,jk->ki", a: &a, b: &b])?;
    let expected = Array::matrix(&[[9.], [12.], [15.]]);
    trial.close("result", &result, &expected, Tolerance::roundings(8.0))
}

fn other_letters_change_nothing(trial: &mut Trial) -> Outcome {
    let (a, b) = (trial.rng.normal_array(&[2, 3]), trial.rng.normal_array(&[3, 4]));
    let expected = einsum("ij,jk->ki", &a, &b);
    for spec in ["ij,jk->ki", "zy,yx->xz", "ki,ij->jk", "QK,Kv->vQ", "αβ,βγ->γα"] {
        let result = trial.array(args![spec: spec, a: &a, b: &b])?;
        let name = format!("result of {spec}");
        trial.close(&name, &result, &expected, tolerance(&a, &b))?;
    }
    Ok(())
}

fn swapping_operands_changes_nothing(trial: &mut Trial) -> Outcome {
    let (a, b) = (trial.rng.normal_array(&[3, 2, 4]), trial.rng.normal_array(&[4, 5]));
    let expected = einsum("aij,jk->ik", &a, &b);
    for (spec, first, second) in [("aij,jk->ik", &a, &b), ("jk,aij->ik", &b, &a)] {
        let result = trial.array(args![spec: spec, a: first, b: second])?;
        let name = format!("result of {spec}");
        trial.close(&name, &result, &expected, tolerance(&a, &b))?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for &(spec, a_shape, b_shape) in SPECS {
        let (a, b) = (trial.rng.normal_array(a_shape), trial.rng.normal_array(b_shape));
        agrees(trial, spec, &a.laid_out(&reversed(a.rank())), &b)?;
    }
    for _ in 0..3 {
        let (spec, a_shape, b_shape) = random_spec(&mut trial.rng);
        let (a, b) = (trial.rng.normal_array(&a_shape), trial.rng.normal_array(&b_shape));
        agrees(trial, &spec, &a, &b.to(DType::F64).laid_out(&reversed(b.rank())))?;
    }
    Ok(())
}

/// Compares one contraction with the definition; the dtype is that of `b`.
fn agrees(trial: &mut Trial, spec: &str, a: &Array, b: &Array) -> Outcome {
    let a = a.to(b.dtype());
    let result = trial.array(args![spec: spec, a: &a, b: b])?;
    let name = format!("result of {spec}");
    trial.close(&name, &result, &einsum(spec, &a, b), tolerance(&a, b))
}

fn gradient_reaches_a_and_b(trial: &mut Trial) -> Outcome {
    // A batch letter, a summed one, a lone one, and a transposed result.
    let (a, b) = (trial.rng.normal_array(&[2, 2, 3]), trial.rng.normal_array(&[2, 3, 2]));
    let args = args![spec: "xbj,bjk->kb", a: &a.laid_out(&[1, 2, 0]), b: &b];
    trial.gradient_matches(args, |at| einsum("xbj,bjk->kb", at.get("a"), at.get("b")))
}

fn bad_specs_are_refused(trial: &mut Trial) -> Outcome {
    let (a, b, thin) =
        (Array::full(&[2, 3], 1.0), Array::full(&[3, 4], 1.0), Array::full(&[1, 4], 1.0));
    let square = Array::full(&[3, 3], 1.0);
    for (case, spec, a, b) in [
        ("letter j is 3 in `a` and 4 in `b`", "ij,kj->ik", &a, &b),
        ("letter j is 3 in `a` and 1 in `b`", "ij,jk->ik", &a, &thin),
        ("the spec names one axis of `a`, which has two", "i,jk->ik", &a, &b),
        ("letter x of the result stands in neither operand", "ij,jk->ix", &a, &b),
        ("letter i stands twice in `a`", "ii,ij->j", &square, &square),
        ("the spec has no arrow", "ij,jk", &a, &b),
        ("the spec has no comma", "ijjk->ik", &a, &b),
    ] {
        trial.refuses(case, args![spec: spec, a: a, b: b])?;
    }
    Ok(())
}

/// Draws a spec of five letters, each of a random kind and size, and the shapes of both operands.
fn random_spec(rng: &mut Generator) -> (String, Vec<usize>, Vec<usize>) {
    // In which lists a letter stands: 0 for `a`, 1 for `b`, 2 for the result.
    let kinds: [&[usize]; 6] = [&[0, 1, 2], &[0, 1], &[0, 2], &[1, 2], &[0], &[1]];
    let mut lists: [Vec<(char, usize)>; 3] = Default::default();
    for letter in 'a'..='e' {
        let size = rng.between(1, 3);
        for &list in kinds[rng.below(kinds.len())] {
            let at = rng.below(lists[list].len() + 1);
            lists[list].insert(at, (letter, size));
        }
    }
    let [a, b, result] =
        lists.each_ref().map(|list| -> String { list.iter().map(|(letter, _)| *letter).collect() });
    let [a_shape, b_shape, _] = lists.map(|list| list.iter().map(|(_, size)| *size).collect());
    (format!("{a},{b}->{result}"), a_shape, b_shape)
}

fn reversed(rank: usize) -> Vec<usize> {
    (0..rank).rev().collect()
}

/// A few dozen products are summed, none larger than the two largest factors make it.
fn tolerance(a: &Array, b: &Array) -> Tolerance {
    Tolerance::roundings(64.0).at_scale(a.max_abs() * b.max_abs())
}

/// The contraction by its definition: for every value of every letter, one product.
fn einsum(spec: &str, a: &Array, b: &Array) -> Array {
    let (left, right, output) = lists(spec).expect("invariant: our own specs are valid");
    let named = left.iter().zip(a.shape()).chain(right.iter().zip(b.shape()));
    let mut letters: Vec<(char, usize)> = named.map(|(&letter, &size)| (letter, size)).collect();
    letters.sort_unstable();
    letters.dedup();
    let size = |letter: &char| letters.iter().find(|(l, _)| l == letter).map_or(1, |(_, n)| *n);
    let shape: Vec<usize> = output.iter().map(size).collect();
    // How far one step of each letter leads in the values of each array.
    let steps: Vec<[usize; 3]> = letters
        .iter()
        .map(|(l, _)| {
            [(&left, a.shape()), (&right, b.shape()), (&output, &shape)].map(|(list, shape)| {
                match list.iter().position(|other| other == l) {
                    Some(axis) => shape[axis + 1..].iter().product(),
                    None => 0,
                }
            })
        })
        .collect();
    let mut sums = vec![0.0; shape.iter().product()];
    let all: Vec<usize> = letters.iter().map(|(_, size)| *size).collect();
    let _ = Array::from_fn(&all, |at| {
        let place = |array: usize| at.iter().zip(&steps).map(|(n, step)| n * step[array]).sum();
        let (in_a, in_b, slot): (usize, usize, usize) = (place(0), place(1), place(2));
        sums[slot] += a.values()[in_a] * b.values()[in_b];
        0.0
    });
    Array::new(&shape, sums).to(a.dtype())
}

/// Splits a spec into the letters of `a`, of `b` and of the result.
fn lists(spec: &str) -> Result<(Vec<char>, Vec<char>, Vec<char>)> {
    let parts = spec.split_once("->").and_then(|(inputs, output)| {
        let (left, right) = inputs.split_once(',')?;
        Some((inputs, left, right, output))
    });
    let Some((inputs, left, right, output)) = parts else {
        bail!("spec {spec:?} has no comma or arrow")
    };
    if let Some(letter) = output.chars().find(|&l| !inputs.contains(l)) {
        bail!("letter {letter} of the result stands in neither operand");
    }
    Ok((left.chars().collect(), right.chars().collect(), output.chars().collect()))
}

/// A right answer without a matmul.
fn checked_broadcasting(spec: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (left, right, _) = lists(spec)?;
    for (letter, size) in left.iter().zip(a.dims()) {
        let other = right.iter().zip(b.dims()).find(|(other, _)| *other == letter);
        if other.is_some_and(|(_, other)| other != size) {
            bail!("letter {letter} has two sizes");
        }
    }
    by_broadcasting(spec, a, b)
}

/// Both operands with an axis for every letter, multiplied; then the letters left out are summed.
fn by_broadcasting(spec: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    summed_if(spec, a, b, |_| true)
}

/// As `by_broadcasting`, but only some of the letters left out are summed.
fn summed_if(
    spec: &str,
    a: &Tensor,
    b: &Tensor,
    is_summed: impl Fn(char) -> bool,
) -> Result<Tensor> {
    let (left, right, output) = lists(spec)?;
    let hidden = left.iter().chain(&right).filter(|&l| !output.contains(l) && is_summed(*l));
    let mut letters = output.clone();
    for &letter in hidden {
        if !letters.contains(&letter) {
            letters.push(letter);
        }
    }
    let product = spread(a, &left, &letters)?.broadcast_mul(&spread(b, &right, &letters)?)?;
    product.sum((output.len()..letters.len()).collect::<Vec<_>>())
}

/// Gives a tensor an axis for each of `letters`, of size 1 where it has none of its own.
fn spread(tensor: &Tensor, own: &[char], letters: &[char]) -> Result<Tensor> {
    let kept: Vec<char> = letters.iter().copied().filter(|l| own.contains(l)).collect();
    let mut result = tensor.permute(axes_of(own, &kept)?)?;
    for (axis, letter) in letters.iter().enumerate() {
        if !own.contains(letter) {
            result = result.unsqueeze(axis)?;
        }
    }
    Ok(result)
}

/// Where each of `letters` stands among `own`.
fn axes_of(own: &[char], letters: &[char]) -> Result<Vec<usize>> {
    let axis = |letter: &char| match own.iter().position(|other| other == letter) {
        Some(axis) => Ok(axis),
        None => bail!("letter {letter} is unknown"),
    };
    letters.iter().map(axis).collect()
}

/// What goes wrong on the way through a batched matmul.
#[derive(Clone, Copy, PartialEq)]
enum Slip {
    Order,
    Reshape,
    Pairing,
}

/// Permute, reshape, matmul; with one slip.
fn multiplied(spec: &str, a: &Tensor, b: &Tensor, slip: Slip) -> Result<Tensor> {
    let (mut left, mut right, output) = lists(spec)?;
    let lone = |own: &[char], other: &[char]| -> Vec<usize> {
        let is_lone = |l: &char| !other.contains(l) && !output.contains(l);
        (0..own.len()).filter(|&axis| is_lone(&own[axis])).collect()
    };
    let (a, b) = (a.sum(lone(&left, &right))?, b.sum(lone(&right, &left))?);
    let (all_left, all_right) = (left.clone(), right.clone());
    left.retain(|l| all_right.contains(l) || output.contains(l));
    right.retain(|l| all_left.contains(l) || output.contains(l));
    let pick = |from: &[char], shared: bool, kept: bool| -> Vec<char> {
        let both = |l: &char| left.contains(l) && right.contains(l);
        from.iter().copied().filter(|l| both(l) == shared && output.contains(l) == kept).collect()
    };
    let (batch, summed) = (pick(&left, true, true), pick(&left, true, false));
    let (rows, columns) = (pick(&left, false, true), pick(&right, false, true));
    let summed_right =
        if slip == Slip::Pairing { pick(&right, true, false) } else { summed.clone() };
    let lhs = merged(&a, &left, [&batch, &rows, &summed])?;
    let rhs = merged(&b, &right, [&batch, &summed_right, &columns])?;
    let found = [batch, rows, columns].concat();
    let size = |l: &char| match left.iter().position(|other| other == l) {
        Some(axis) => a.dim(axis),
        None => b.dim(axes_of(&right, &[*l])?[0]),
    };
    let natural: Vec<usize> = found.iter().map(size).collect::<Result<_>>()?;
    let wanted: Vec<usize> = output.iter().map(size).collect::<Result<_>>()?;
    let product = lhs.matmul(&rhs)?;
    match slip {
        Slip::Order => product.reshape(natural),
        Slip::Reshape => product.reshape(wanted),
        Slip::Pairing => product.reshape(natural)?.permute(axes_of(&found, &output)?),
    }
}

/// One axis for each group of letters.
fn merged(tensor: &Tensor, own: &[char], groups: [&[char]; 3]) -> Result<Tensor> {
    let mut shape = Vec::new();
    for group in groups {
        let sizes = axes_of(own, group)?.into_iter().map(|axis| tensor.dim(axis));
        shape.push(sizes.product::<Result<usize>>()?);
    }
    tensor.permute(axes_of(own, &groups.concat())?)?.reshape(shape)
}
