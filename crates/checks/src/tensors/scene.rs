//! Rays and triangles for `ray_triangles`, clear of every boundary where rounding would decide.

use protocol::DType;

use crate::{Array, Generator};

/// Rays, and the triangles that they may hit.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) origins: Array,
    pub(super) directions: Array,
    pub(super) triangles: Array,
}

type Point = [f64; 3];

/// One system, solved by Cramer's rule.
struct Solution {
    det: f64,
    u: f64,
    v: f64,
    t: f64,
}

impl Scene {
    pub(super) fn to(&self, dtype: DType) -> Self {
        Self {
            origins: self.origins.to(dtype),
            directions: self.directions.to(dtype),
            triangles: self.triangles.to(dtype),
        }
    }

    /// How far each ray travels to each triangle, by the definition.
    pub(super) fn distances(&self) -> Array {
        let shape = [self.origins.dim(0), self.triangles.dim(0)];
        Array::from_fn(&shape, |at| self.distance(at[0], at[1]))
    }

    fn distance(&self, ray: usize, triangle: usize) -> f64 {
        let Solution { det, u, v, t } = self.solve(ray, triangle);
        let is_hit = det != 0.0 && u >= 0.0 && v >= 0.0 && u + v <= 1.0 && t >= 0.0;
        if is_hit { t } else { f64::INFINITY }
    }

    fn hits_something(&self, ray: usize) -> bool {
        (0..self.triangles.dim(0)).any(|triangle| self.distance(ray, triangle).is_finite())
    }

    /// Turns every point and direction by a matrix.
    pub(super) fn turned(&self, rotation: &[Point; 3]) -> Self {
        let turn = |points: &Array| {
            let (width, values) = (points.shape().len(), points.values());
            assert_eq!(points.dim(width - 1), 3, "invariant: points have three numbers");
            let turned = values.as_chunks::<3>().0.iter();
            let turned = turned.flat_map(|&p| rotation.map(|row| dot(row, p))).collect();
            Array::new(points.shape(), turned)
        };
        Self {
            origins: turn(&self.origins),
            directions: turn(&self.directions),
            triangles: turn(&self.triangles),
        }
    }

    fn solve(&self, ray: usize, triangle: usize) -> Solution {
        let point = |array: &Array, row: usize| [0, 1, 2].map(|n| array.at(&[row, n]));
        let corner = |n: usize| [0, 1, 2].map(|axis| self.triangles.at(&[triangle, n, axis]));
        let (origin, direction) = (point(&self.origins, ray), point(&self.directions, ray));
        let back = direction.map(|x| -x);
        let (b, c) = (minus(corner(1), corner(0)), minus(corner(2), corner(0)));
        let from_a = minus(origin, corner(0));
        // Columns of the system: −direction, b, c; unknowns: t, u, v.
        let det = triple(back, b, c);
        Solution {
            det,
            t: triple(from_a, b, c) / det,
            u: triple(back, from_a, c) / det,
            v: triple(back, b, from_a) / det,
        }
    }

    /// Whether no system of a ray is near a boundary, or near to being singular.
    fn is_clear(&self, ray: usize) -> bool {
        (0..self.triangles.dim(0)).all(|triangle| {
            let Solution { det, u, v, t } = self.solve(ray, triangle);
            let margin = [u, v, 1.0 - u - v, t].into_iter().map(f64::abs).fold(1.0, f64::min);
            det.abs() > 0.5 && margin > 0.02 && t.abs() < 8.0
        })
    }
}

/// Rays aimed about the triangles, some of which face away or lie behind.
pub(super) fn random(rng: &mut Generator, n_rays: usize, n_triangles: usize) -> Scene {
    let triangles = loop {
        let triangles = rng.uniform_array(&[n_triangles, 3, 3], -2.0, 2.0);
        if (0..n_triangles).all(|n| area(&triangles, n) > 1.0) {
            break triangles;
        }
    };
    aimed(rng, n_rays, triangles)
}

/// Triangles at right angles to the z axis.
pub(super) fn facing_z(rng: &mut Generator) -> Scene {
    let Scene { mut triangles, .. } = random(rng, 1, 2);
    for triangle in 0..2 {
        for corner in 0..3 {
            triangles.set(&[triangle, corner, 2], 2.0 + triangle as f64);
        }
        triangles.set(&[triangle, 0, 0], -2.5);
        triangles.set(&[triangle, 1, 0], 2.5);
        triangles.set(&[triangle, 0, 1], -2.0);
        triangles.set(&[triangle, 1, 1], -1.5);
        triangles.set(&[triangle, 2, 1], 2.5);
    }
    aimed(rng, 6, triangles)
}

/// Draws rays that pass within or beside a triangle, until each is clear of every boundary.
fn aimed(rng: &mut Generator, n_rays: usize, triangles: Array) -> Scene {
    let empty = Array::full(&[n_rays, 3], 0.0).to(DType::F32);
    let mut scene = Scene { origins: empty.clone(), directions: empty, triangles };
    for ray in 0..n_rays {
        loop {
            let triangle = rng.below(scene.triangles.dim(0));
            let (u, v) = (0.7 * rng.uniform() - 0.1, 0.7 * rng.uniform() - 0.1);
            let ahead = rng.choose(&[1.0, 1.0, -1.0]) * (0.3 + rng.uniform());
            for axis in 0..3 {
                let corner = |n| scene.triangles.at(&[triangle, n, axis]);
                let target = (1.0 - u - v) * corner(0) + u * corner(1) + v * corner(2);
                let origin = f64::from((4.0 * rng.uniform() - 2.0) as f32);
                scene.origins.set(&[ray, axis], origin);
                let direction = f64::from(((target - origin) * ahead) as f32);
                scene.directions.set(&[ray, axis], direction);
            }
            // The first ray hits, or a scene might be all misses.
            if scene.is_clear(ray) && (ray > 0 || scene.hits_something(ray)) {
                break;
            }
        }
    }
    scene
}

/// Rays in the plane of a triangle, beside it, and triangles that are a line or a point.
///
/// Every number is small and whole, so that each determinant is 0 in every dtype.
pub(super) fn singular() -> Scene {
    let plane = [0., 0., 0., 4., 0., 0., 0., 4., 0.];
    let line = [0., 0., 0., 1., 0., 0., 2., 0., 0.];
    let point = [1., 1., 1., 1., 1., 1., 1., 1., 1.];
    Scene {
        origins: Array::matrix(&[[1., 1., 0.], [-1., 1., 0.], [1., 1., 2.], [1., 0., 3.]]),
        directions: Array::matrix(&[[1., 0., 0.], [2., 0., 0.], [0., 1., 0.], [0., 0., 0.]]),
        triangles: Array::new(&[3, 3, 3], [plane, line, point].concat()),
    }
}

/// A random rotation: an orthonormal basis by cross products.
pub(super) fn rotation(rng: &mut Generator) -> [Point; 3] {
    let mut draw = || [rng.normal(), rng.normal(), rng.normal()];
    let unit = |p: Point| p.map(|x| x / dot(p, p).sqrt());
    let first = unit(draw());
    let second = unit(cross(first, draw()));
    [first, second, cross(first, second)]
}

fn area(triangles: &Array, n: usize) -> f64 {
    let corner = |c: usize| [0, 1, 2].map(|axis| triangles.at(&[n, c, axis]));
    let normal = cross(minus(corner(1), corner(0)), minus(corner(2), corner(0)));
    dot(normal, normal).sqrt() / 2.0
}

fn minus(p: Point, q: Point) -> Point {
    [p[0] - q[0], p[1] - q[1], p[2] - q[2]]
}

fn dot(p: Point, q: Point) -> f64 {
    p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
}

fn cross(p: Point, q: Point) -> Point {
    [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]]
}

fn triple(p: Point, q: Point, r: Point) -> f64 {
    dot(p, cross(q, r))
}
