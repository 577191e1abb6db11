//! Proving the course: every rule of `crates/VERIFY.md`, looked at in its order.
//!
//! Each file under `verify/` looks at one kind of thing and gives [`Complaint`]s; what runs them
//! is `commands/verify.rs`.
//!
//! **Invariant:** whatever an exercise looks like, a rule ends in complaints and never in a panic.

pub(crate) mod builds;
mod complaint;
mod folders;
mod hints;
mod leak;
pub(crate) mod lines;
mod load;
mod manifests;
mod names;
pub(crate) mod numbers;
pub(crate) mod page;
pub(crate) mod proofs;
mod readmes;
pub(crate) mod strength;
mod stubs;

use std::path::Path;

pub(crate) use complaint::{Complaint, Fix};
use report::Rule;

use crate::course::{self, COURSE, Course, Exercise};

/// What is verified.
pub(crate) struct Scene<'a> {
    pub(crate) root: &'a Path,
    pub(crate) course: &'a Course,
    /// Rules about one exercise look at this one alone.
    pub(crate) only: Option<&'a str>,
}

impl<'a> Scene<'a> {
    /// The exercises that were asked for.
    pub(crate) fn asked(&self) -> impl Iterator<Item = &'a Exercise> + use<'a> {
        let (only, exercises) = (self.only, &self.course.exercises);
        exercises.iter().filter(move |exercise| only.is_none_or(|name| name == exercise.name))
    }
}

/// Everything that files alone can tell.
pub(crate) fn files(root: &Path, only: Option<&str>) -> Vec<Complaint> {
    let course = match Course::read(root) {
        Ok(course) => course,
        Err(error) => return course_unreadable(root, &error),
    };
    let scene = Scene { root, course: &course, only };
    let mut complaints = Vec::new();
    folders::look(&scene, &mut complaints);
    manifests::look(&scene, &mut complaints);
    hints::look(&scene, &mut complaints);
    stubs::look(&scene, &mut complaints);
    readmes::look(&scene, &mut complaints);
    names::look(root, &mut complaints);
    complaints.sort_by_key(|complaint| complaint.rule);
    complaints
}

/// Whether cargo can be asked to build both sides of an exercise at all.
pub(crate) fn can_be_built(root: &Path, exercise: &Exercise) -> bool {
    folders::can_be_built(root, &exercise.name)
}

fn course_unreadable(root: &Path, error: &anyhow::Error) -> Vec<Complaint> {
    let (line, sentence) = match course::names(root) {
        Err(damage) => (damage.line, damage.message),
        Ok(_) => (1, format!("{error}.")),
    };
    vec![Complaint::new(Rule::CourseReadable, COURSE, line, sentence)]
}
