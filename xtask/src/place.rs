//! Which exercise, and which part, a name means.

use std::env;

use crate::{
    course::{Course, Exercise},
    exit::{Exit, problem},
    state::State,
};

/// An exercise, and a part of it if one was named.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) exercise: &'a Exercise,
    pub(crate) part: Option<String>,
    /// Whether nobody named it.
    pub(crate) is_implied: bool,
}

impl<'a> Place<'a> {
    /// Finds `attention`, `attention::causal_mask`, or without a name the exercise at hand.
    pub(crate) fn find(
        course: &'a Course,
        state: &State,
        name: Option<&str>,
    ) -> anyhow::Result<Self> {
        let Some(name) = name else {
            let exercise = here(course)?.or_else(|| first_open(course, state));
            let exercise = exercise.or(course.exercises.last()).ok_or_else(|| {
                problem(Exit::Usage, "The course is empty; see exercises/course.toml.")
            })?;
            return Ok(Self { exercise, part: None, is_implied: true });
        };
        let (name, part) = match name.split_once("::") {
            Some((name, part)) => (name, Some(part)),
            None => (name, None),
        };
        let exercise = course.named(name).ok_or_else(|| unknown_exercise(course, name))??;
        if let Some(part) = part.filter(|part| exercise.part(part).is_none()) {
            let names = exercise.manifest.part.iter().map(|part| part.name.as_str());
            let sentence = format!("{} has no part `{part}`.", exercise.name);
            return Err(suggest(&sentence, part, names, &format!("{}::", exercise.name)));
        }
        Ok(Self { exercise, part: part.map(str::to_owned), is_implied: false })
    }
}

/// The exercise whose folder we are in.
fn here(course: &Course) -> anyhow::Result<Option<&Exercise>> {
    let here = env::current_dir()?;
    let inside = here.strip_prefix(course.root.join("exercises")).ok();
    let name = inside.and_then(|inside| inside.iter().next()?.to_str());
    name.and_then(|name| course.named(name)).transpose()
}

/// The first exercise that is not done.
pub(crate) fn first_open<'a>(course: &'a Course, state: &State) -> Option<&'a Exercise> {
    course.exercises.iter().find(|exercise| !state.is_done(exercise))
}

fn unknown_exercise(course: &Course, name: &str) -> anyhow::Error {
    // Somebody may have named the part alone.
    if let Some(exercise) = course.exercises.iter().find(|exercise| exercise.part(name).is_some()) {
        let whole = format!("{}::{name}", exercise.name);
        return problem(
            Exit::Usage,
            format!("There is no exercise `{name}`, but a part of that name: say `{whole}`."),
        );
    }
    let readable = course.exercises.iter().map(|exercise| exercise.name.as_str());
    let names = readable.chain(course.damaged.iter().map(|damaged| damaged.name.as_str()));
    suggest(&format!("There is no exercise `{name}`."), name, names, "")
}

fn suggest<'n>(
    sentence: &str,
    wrong: &str,
    names: impl Iterator<Item = &'n str> + Clone,
    prefix: &str,
) -> anyhow::Error {
    let closeness = |name: &&str| strsim::jaro_winkler(wrong, name);
    let nearest = names.clone().max_by(|a, b| closeness(a).total_cmp(&closeness(b)));
    let help = match nearest.filter(|name| closeness(name) > 0.7) {
        Some(name) => format!("Did you mean `{prefix}{name}`?"),
        None => format!("There are: {}.", names.collect::<Vec<_>>().join(", ")),
    };
    problem(Exit::Usage, format!("{sentence} {help}"))
}
