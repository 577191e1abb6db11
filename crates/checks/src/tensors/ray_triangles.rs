//! `ray_triangles`: how far each ray travels until it hits each triangle.

use answer::answer;
use candle_core::{D, DType as CandleDType, Result, Tensor};
use protocol::DType;

use super::scene::{self, Scene};
use crate::{
    Alternative, Array, Check, Impostor, Kind, Outcome, Part, Stop, Tolerance, Trial, args,
};

pub(super) const RAY_TRIANGLES: Part = Part {
    name: "ray_triangles",
    rule: None,
    checks: &[
        Check {
            name: "documented_example",
            promise: "The example in the documentation comes out as it says.",
            kind: Kind::Example,
            run: documented_example,
        },
        Check {
            name: "order_of_corners_does_not_matter",
            promise: "A triangle is hit from both sides, whichever corner comes first.",
            kind: Kind::Property,
            run: order_of_corners_does_not_matter,
        },
        Check {
            name: "rotating_the_scene_changes_nothing",
            promise: "Rays and triangles that are turned together keep their distances.",
            kind: Kind::Property,
            run: rotating_the_scene_changes_nothing,
        },
        Check {
            name: "matches_definition",
            promise: "Every ray meets every triangle where the equations say, or nowhere.",
            kind: Kind::Reference,
            run: matches_definition,
        },
        Check {
            name: "edges_count",
            promise: "Edges, corners and t = 0 are hits.",
            kind: Kind::Property,
            run: edges_count,
        },
        Check {
            name: "singular_systems_are_misses",
            promise: "A parallel ray or a triangle without area gives +∞, never NaN.",
            kind: Kind::Property,
            run: singular_systems_are_misses,
        },
        Check {
            name: "small_scenes_keep_their_hits",
            promise: "A scene drawn 10⁴ times smaller has the same hits.",
            kind: Kind::Property,
            run: small_scenes_keep_their_hits,
        },
        Check {
            name: "gradient_reaches_every_input",
            promise: "The gradient of hits reaches every input; a miss sends back 0.",
            kind: Kind::Gradient,
            run: gradient_reaches_every_input,
        },
        Check {
            name: "bad_shapes_are_refused",
            promise: "Shapes that disagree get an error.",
            kind: Kind::Errors,
            run: bad_shapes_are_refused,
        },
    ],
    impostors: &[
        Impostor {
            name: "hits_behind_the_origin",
            diagnosis: "what lies behind the origin counts as hit; t must not be negative",
            caught_by: "documented_example",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, |s| s.inside()? * s.solvable()?)
            }),
        },
        Impostor {
            name: "nearest_only",
            diagnosis: "only the nearest triangle of each ray is returned; all are asked for",
            caught_by: "documented_example",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, Solved::is_hit)?.min(1)
            }),
        },
        Impostor {
            name: "back_faces_culled",
            diagnosis: "a triangle is hit only from the side from which its corners run \
                        anticlockwise; both sides count",
            caught_by: "order_of_corners_does_not_matter",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, |s| s.is_hit()? * s.det.lt(0.0)?)
            }),
        },
        Impostor {
            name: "distance_along_z",
            diagnosis: "t is the way to the first corner along z, as if every triangle faced the \
                        z axis",
            caught_by: "rotating_the_scene_changes_nothing",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                along_z(origins, directions, triangles)
            }),
        },
        Impostor {
            name: "whole_plane_hit",
            diagnosis: "the plane of the triangle is hit anywhere; u and v are not looked at",
            caught_by: "order_of_corners_does_not_matter",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, |s| s.t.ge(0.0)? * s.solvable()?)
            }),
        },
        Impostor {
            name: "parallelogram_hit",
            diagnosis: "u ≤ 1 and v ≤ 1 are asked for, which is a parallelogram; a triangle has \
                        u + v ≤ 1",
            caught_by: "order_of_corners_does_not_matter",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, |s| {
                    let box_hit = ((between(&s.u)? * between(&s.v)?)? * s.t.ge(0.0)?)?;
                    box_hit * s.solvable()?
                })
            }),
        },
        Impostor {
            name: "distance_in_space",
            diagnosis: "the distance is measured in units of space; t counts in lengths of \
                        `direction`",
            caught_by: "rotating_the_scene_changes_nothing",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                let lengths = directions.sqr()?.sum_keepdim(1)?.sqrt()?;
                let t = hits(origins, directions, triangles, Solved::is_hit)?;
                t.broadcast_mul(&lengths)
            }),
        },
        Impostor {
            name: "segment_for_ray",
            diagnosis: "hits beyond t = 1 are dropped; a ray has no end",
            caught_by: "documented_example",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, |s| s.is_hit()? * s.t.le(1.0)?)
            }),
        },
        Impostor {
            name: "edges_left_out",
            diagnosis: "u > 0, v > 0 or t > 0 is asked for, so a hit at an edge or at the origin \
                        is lost",
            caught_by: "edges_count",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, |s| {
                    let inner = ((s.u.gt(0.0)? * s.v.gt(0.0)?)? * s.w()?.gt(0.0)?)?;
                    (inner * s.t.gt(0.0)?)? * s.solvable()?
                })
            }),
        },
        Impostor {
            name: "misses_sought_instead_of_hits",
            diagnosis: "what is below 0 or above 1 is made a miss, and NaN is neither; ask what \
                        is a hit instead",
            caught_by: "singular_systems_are_misses",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits_by(origins, directions, triangles, false, |s| {
                    let out = (s.u.lt(0.0)? + s.v.lt(0.0)?)?;
                    (out + (s.w()?.lt(0.0)? + s.t.lt(0.0)?)?)?.eq(0u8)
                })
            }),
        },
        Impostor {
            name: "singular_systems_solved",
            diagnosis: "a determinant of 0 is replaced by another number and then forgotten, so \
                        that a ray in the plane of the triangle hits at t = 0",
            caught_by: "singular_systems_are_misses",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, |s| s.inside()? * s.t.ge(0.0)?)
            }),
        },
        Impostor {
            name: "threshold_on_the_determinant",
            diagnosis: "a determinant below 10⁻⁶ counts as parallel, but it is as small for a \
                        small triangle; only 0 is singular",
            caught_by: "small_scenes_keep_their_hits",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, |s| s.is_hit()? * s.det.abs()?.ge(1e-6)?)
            }),
        },
        Impostor {
            name: "nan_hidden_too_late",
            diagnosis: "the division by 0 is hidden after it is done, which leaves NaN in the \
                        gradient; replace the determinant before the division",
            caught_by: "gradient_reaches_every_input",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits_by(origins, directions, triangles, false, Solved::is_hit)
            }),
        },
        Impostor {
            name: "through_vectors",
            diagnosis: "the values are taken out of the tensors and put into a new one, which \
                        cuts the gradient",
            caught_by: "gradient_reaches_every_input",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(origins, directions, triangles, Solved::is_hit).map(|t| t.detach())
            }),
        },
        Impostor {
            name: "computed_in_f32",
            diagnosis: "everything is computed in f32; the dtype must come from the inputs",
            caught_by: "matches_definition",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                let single = |x: &Tensor| x.to_dtype(CandleDType::F32);
                let (o, d, t) = (single(origins)?, single(directions)?, single(triangles)?);
                hits(&o, &d, &t, Solved::is_hit)?.to_dtype(origins.dtype())
            }),
        },
        Impostor {
            name: "one_origin_for_all",
            diagnosis: "a single origin is stretched to all directions; the shapes must agree",
            caught_by: "bad_shapes_are_refused",
            answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
                hits(&origins.broadcast_as(directions.shape())?, directions, triangles, |s| {
                    s.is_hit()
                })
            }),
        },
    ],
    alternatives: &[Alternative {
        name: "plane_first_then_areas",
        answer: answer!(|origins: &Tensor, directions: &Tensor, triangles: &Tensor| {
            plane_first(origins, directions, triangles)
        }),
    }],
};

/// Two triple products and a quotient, on numbers of size 4, with determinants above 0.3.
const TOLERANCE: Tolerance = Tolerance::roundings(1024.0);

fn documented_example(trial: &mut Trial) -> Outcome {
    let in_front = [-1., -1., 2., 3., -1., 2., -1., 3., 2.];
    let behind = [-1., -1., -2., 3., -1., -2., -1., 3., -2.];
    let scene = Scene {
        origins: Array::matrix(&[[0., 0., 0.]]),
        directions: Array::matrix(&[[0., 0., 1.]]),
        triangles: Array::new(&[2, 3, 3], [in_front, behind].concat()),
    };
    let t = ask(trial, &scene)?;
    trial.close("t", &t, &Array::matrix(&[[2., f64::INFINITY]]), Tolerance::roundings(8.0))
}

fn order_of_corners_does_not_matter(trial: &mut Trial) -> Outcome {
    // Flat on z = 2: what is left of the problem in two dimensions.
    let corners = Array::new(&[1, 3, 3], vec![-1., -1., 2., 3., -1., 2., -1., 3., 2.]);
    let origins = Array::matrix(&[[0.5, 0.25, 0.], [0.5, 0.25, 5.], [2.5, 2.5, 0.], [-2., 0., 0.]]);
    let directions = Array::matrix(&[[0., 0., 1.], [0., 0., -1.], [0., 0., 1.], [0., 0., 1.]]);
    let expected = Array::new(&[4, 1], vec![2., 3., f64::INFINITY, f64::INFINITY]);
    for order in [[0, 1, 2], [1, 2, 0], [0, 2, 1]] {
        let triangles = corners.select(1, &order);
        let scene = Scene { origins: origins.clone(), directions: directions.clone(), triangles };
        let t = ask(trial, &scene)?;
        let name = format!("t with the corners in the order {order:?}");
        trial.close(&name, &t, &expected, Tolerance::roundings(8.0))?;
    }
    Ok(())
}

fn rotating_the_scene_changes_nothing(trial: &mut Trial) -> Outcome {
    let flat = scene::facing_z(&mut trial.rng);
    let turned = flat.turned(&scene::rotation(&mut trial.rng));
    let expected = flat.distances();
    for (name, scene) in [("t", &flat), ("t of the rotated scene", &turned)] {
        let t = ask(trial, &scene.to(DType::F32))?;
        trial.close(name, &t, &expected.to(DType::F32), TOLERANCE)?;
    }
    Ok(())
}

fn matches_definition(trial: &mut Trial) -> Outcome {
    for (n_rays, n_triangles) in [(5, 3), (1, 2), (4, 1)] {
        for dtype in [DType::F64, DType::F32] {
            let scene = scene::random(&mut trial.rng, n_rays, n_triangles).to(dtype);
            let scene = Scene { triangles: scene.triangles.laid_out(&[2, 0, 1]), ..scene };
            let t = ask(trial, &scene)?;
            trial.close("t", &t, &scene.distances().to(dtype), TOLERANCE)?;
        }
    }
    Ok(())
}

fn edges_count(trial: &mut Trial) -> Outcome {
    let origins = [[2., 0., -3.], [0., 2., -3.], [2., 2., -3.], [0., 0., -3.], [1., 1., 0.]];
    let scene = Scene {
        origins: Array::matrix(&origins),
        directions: Array::from_fn(&[5, 3], |at| f64::from(u8::from(at[1] == 2))),
        triangles: Array::new(&[1, 3, 3], vec![0., 0., 0., 4., 0., 0., 0., 4., 0.]),
    };
    let t = ask(trial, &scene.to(DType::F32))?;
    let expected = Array::new(&[5, 1], vec![3., 3., 3., 3., 0.]).to(DType::F32);
    trial.close("t at edges, a corner, and the origin", &t, &expected, Tolerance::roundings(8.0))
}

fn singular_systems_are_misses(trial: &mut Trial) -> Outcome {
    let t = ask(trial, &scene::singular().to(DType::F32))?;
    let expected = Array::full(t.shape(), f64::INFINITY).to(DType::F32);
    trial.close("t of singular systems", &t, &expected, Tolerance::EXACT)
}

fn small_scenes_keep_their_hits(trial: &mut Trial) -> Outcome {
    let scene = scene::random(&mut trial.rng, 4, 3);
    let small = Scene {
        origins: scene.origins.map(|x| 1e-4 * x),
        directions: scene.directions.clone(),
        triangles: scene.triangles.map(|x| 1e-4 * x),
    };
    let small = small.to(DType::F32);
    let t = ask(trial, &small)?;
    trial.close("t", &t, &scene.distances().map(|t| 1e-4 * t).to(DType::F32), TOLERANCE)
}

fn gradient_reaches_every_input(trial: &mut Trial) -> Outcome {
    let scene = scene::random(&mut trial.rng, 2, 2);
    trial.gradient_matches(scene.args(), |at| {
        let scene = Scene {
            origins: at.get("origins").clone(),
            directions: at.get("directions").clone(),
            triangles: at.get("triangles").clone(),
        };
        // A miss stays a miss nearby, so its gradient is that of a constant.
        scene.distances().map(|t| if t.is_finite() { t } else { 0.0 })
    })?;
    let singular = scene::singular();
    let cotangent = Array::full(singular.distances().shape(), 1.0);
    for (name, gradient) in trial.gradients(singular.args(), &[&cotangent])? {
        let Some(gradient) = gradient else { continue };
        let zeros = Array::full(gradient.shape(), 0.0);
        let name = format!("gradient of {name} where every system is singular");
        trial.close(&name, &gradient, &zeros, Tolerance::EXACT)?;
    }
    Ok(())
}

fn bad_shapes_are_refused(trial: &mut Trial) -> Outcome {
    let scene = scene::random(&mut trial.rng, 2, 2);
    let one = Scene { origins: scene.origins.narrow(0, 0, 1), ..scene.clone() };
    trial.refuses("there is 1 origin for 2 directions", one.args())?;
    let flat = Scene { triangles: scene.triangles.narrow(2, 0, 2), ..scene.clone() };
    trial.refuses("a corner has 2 numbers", flat.args())?;
    let two = Scene { triangles: scene.triangles.narrow(1, 0, 2), ..scene };
    trial.refuses("a triangle has 2 corners", two.args()).map(|_| ())
}

fn ask(trial: &mut Trial, scene: &Scene) -> std::result::Result<Array, Stop> {
    trial.array(scene.args())
}

impl Scene {
    fn args(&self) -> Vec<(&'static str, protocol::Value)> {
        args![origins: &self.origins, directions: &self.directions, triangles: &self.triangles]
    }
}

/// The solution of every system, each `(n_rays, n_triangles)`.
struct Solved {
    det: Tensor,
    u: Tensor,
    v: Tensor,
    t: Tensor,
}

impl Solved {
    fn w(&self) -> Result<Tensor> {
        1.0 - (&self.u + &self.v)?
    }

    fn inside(&self) -> Result<Tensor> {
        (self.u.ge(0.0)? * self.v.ge(0.0)?)? * (&self.u + &self.v)?.le(1.0)?
    }

    fn solvable(&self) -> Result<Tensor> {
        self.det.ne(0.0)
    }

    fn is_hit(&self) -> Result<Tensor> {
        (self.inside()? * self.t.ge(0.0)?)? * self.solvable()?
    }
}

fn between(x: &Tensor) -> Result<Tensor> {
    x.ge(0.0)? * x.le(1.0)?
}

/// Distances where `is_hit`, after singular determinants were replaced.
fn hits(
    origins: &Tensor,
    directions: &Tensor,
    triangles: &Tensor,
    is_hit: impl Fn(&Solved) -> Result<Tensor>,
) -> Result<Tensor> {
    hits_by(origins, directions, triangles, true, is_hit)
}

fn hits_by(
    origins: &Tensor,
    directions: &Tensor,
    triangles: &Tensor,
    replaces: bool,
    is_hit: impl Fn(&Solved) -> Result<Tensor>,
) -> Result<Tensor> {
    let [origin, direction, a, b, c] = spread(origins, directions, triangles)?;
    let (edge_b, edge_c, from_a) = ((b - &a)?, (c - &a)?, (origin - &a)?);
    let normal = cross(&edge_b, &edge_c)?;
    let det = dot(&direction, &normal)?.neg()?;
    let divisor =
        if replaces { det.eq(0.0)?.where_cond(&det.ones_like()?, &det)? } else { det.clone() };
    let turned = cross(&from_a, &direction)?;
    let u = (dot(&edge_c, &turned)? / &divisor)?;
    let v = (dot(&edge_b, &turned)?.neg()? / &divisor)?;
    let t = (dot(&from_a, &normal)? / &divisor)?;
    let solved = Solved { det, u, v, t };
    only(&is_hit(&solved)?, &solved.t)
}

/// The plane by its normal, then the parts of the area as seen along that normal.
fn plane_first(origins: &Tensor, directions: &Tensor, triangles: &Tensor) -> Result<Tensor> {
    let [origin, direction, a, b, c] = spread(origins, directions, triangles)?;
    let (edge_b, edge_c) = ((&b - &a)?, (&c - &a)?);
    let normal = cross(&edge_b, &edge_c)?;
    let (slope, area) = (dot(&normal, &direction)?, dot(&normal, &normal)?);
    let is_singular = slope.eq(0.0)?;
    let safe = |x: &Tensor| x.eq(0.0)?.where_cond(&x.ones_like()?, x);
    let t = (dot(&normal, &(&a - &origin)?)? / safe(&slope)?)?;
    let point = (origin + direction.broadcast_mul(&t.unsqueeze(2)?)?)?;
    let part = |p: &Tensor, edge: &Tensor| dot(&normal, &cross(edge, &(&point - p)?)?);
    let (parts, area) = ([part(&a, &edge_b)?, part(&b, &(&c - &b)?)?], safe(&area)?);
    let last = ((area - &parts[0])? - &parts[1])?;
    let inside = ((parts[0].ge(0.0)? * parts[1].ge(0.0)?)? * last.ge(0.0)?)?;
    only(&((inside * t.ge(0.0)?)? * is_singular.eq(0u8)?)?, &t)
}

/// Hits are found rightly, but their distance is read off the z axis.
fn along_z(origins: &Tensor, directions: &Tensor, triangles: &Tensor) -> Result<Tensor> {
    let right = hits(origins, directions, triangles, Solved::is_hit)?;
    let [origin, direction, a, ..] = spread(origins, directions, triangles)?;
    let z = |x: &Tensor| x.narrow(2, 2, 1)?.squeeze(2);
    let t = ((z(&a)? - z(&origin)?)? / z(&direction)?)?;
    only(&right.lt(f64::INFINITY)?, &t)
}

/// Origin, direction and the three corners, each `(n_rays, n_triangles, 3)`.
fn spread(origins: &Tensor, directions: &Tensor, triangles: &Tensor) -> Result<[Tensor; 5]> {
    let shape = (origins.dim(0)?, triangles.dim(0)?, 3);
    let ray = |x: &Tensor| x.unsqueeze(1)?.broadcast_as(shape);
    let corner = |n| triangles.narrow(1, n, 1)?.squeeze(1)?.unsqueeze(0)?.broadcast_as(shape);
    if triangles.dim(1)? != 3 || origins.dim(0)? != directions.dim(0)? {
        candle_core::bail!("shapes disagree");
    }
    Ok([ray(origins)?, ray(directions)?, corner(0)?, corner(1)?, corner(2)?])
}

fn cross(p: &Tensor, q: &Tensor) -> Result<Tensor> {
    let part = |x: &Tensor, n: usize| x.narrow(D::Minus1, n % 3, 1);
    let component = |n: usize| -> Result<Tensor> {
        (part(p, n + 1)? * part(q, n + 2)?)? - (part(p, n + 2)? * part(q, n + 1)?)?
    };
    Tensor::cat(&[component(0)?, component(1)?, component(2)?], D::Minus1)
}

fn dot(p: &Tensor, q: &Tensor) -> Result<Tensor> {
    (p * q)?.sum(D::Minus1)
}

/// +∞ where it is no hit.
fn only(is_hit: &Tensor, t: &Tensor) -> Result<Tensor> {
    let infinity = Tensor::new(f64::INFINITY, t.device())?.to_dtype(t.dtype())?;
    is_hit.where_cond(t, &infinity.broadcast_as(t.shape())?)
}
