//! Rules about what people read: the README of the clone, and of each exercise.

use std::fs;

use report::Rule;

use super::{Complaint, Fix, Scene, lines::line_of};
use crate::course::Exercise;

const README: &str = "README.md";
const BEGIN: &str = "<!-- exercises:begin -->\n";
const END: &str = "<!-- exercises:end -->";

/// Most words of an idea.
const IDEA: usize = 150;

/// What the README of an exercise has, in this order.
const SECTIONS: &[&str] = &["Idea", "Build", "Check", "Go further"];

pub(super) fn look(scene: &Scene, complaints: &mut Vec<Complaint>) {
    for exercise in scene.asked() {
        whole(scene, exercise, complaints);
    }
    // While a manifest is damaged, the table cannot be known.
    if scene.course.damaged.is_empty() {
        complaints.extend(table(scene));
    }
}

fn table(scene: &Scene) -> Option<Complaint> {
    let text = fs::read_to_string(scene.root.join(README)).unwrap_or_default();
    let complain =
        |line, sentence: &str| Some(Complaint::new(Rule::ReadmeTable, README, line, sentence));
    let marked = text.split_once(BEGIN).and_then(|(head, rest)| {
        let (there, tail) = rest.split_once(END)?;
        Some((head, there, tail))
    });
    let Some((head, there, tail)) = marked else {
        let marks =
            format!("Mark the table of exercises: `{}` before it, `{END}` behind.", BEGIN.trim());
        return complain(1, &marks);
    };
    let table = rows(&scene.course.exercises);
    if there == table {
        return None;
    }
    let same = there.lines().zip(table.lines()).take_while(|(a, b)| a == b).count();
    let line = line_of(&text, BEGIN) + 1 + same;
    let text = format!("{head}{BEGIN}{table}{END}{tail}");
    let sentence = "The manifests say something else than this table; write what they say.";
    let fix = Fix::Write { file: README.to_owned(), text };
    complain(line, sentence).map(|complaint| complaint.with_fix(fix))
}

fn rows(exercises: &[Exercise]) -> String {
    let mut rows =
        "| exercise | parts | what you write | minutes |\n|---|---:|---|---:|\n".to_owned();
    for Exercise { name, manifest } in exercises {
        rows += &format!(
            "| [`{name}`](exercises/{name}/README.md): {} | {} | {} | {} |\n",
            manifest.title,
            manifest.part.len(),
            manifest.summary,
            manifest.minutes
        );
    }
    rows
}

fn whole(scene: &Scene, exercise: &Exercise, complaints: &mut Vec<Complaint>) {
    let file = format!("{}/{README}", exercise.folder());
    // That there is one is said by another rule.
    let Ok(text) = fs::read_to_string(scene.root.join(&file)) else { return };
    let mut add = |line, sentence: String| {
        complaints.push(Complaint::new(Rule::ReadmeWhole, &file, line, sentence));
    };
    let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for section in SECTIONS {
        if !found.contains(section) {
            add(text.lines().count(), format!("There is no section `## {section}`; write it."));
        }
    }
    let idea = text.split_once("## Idea\n").map_or("", |(_, rest)| rest);
    let idea = idea.split("\n## ").next().unwrap_or_default();
    let line = line_of(&text, "## Idea");
    let is_figure = |line: &&str| line.starts_with("![");
    let words: usize = idea
        .lines()
        .filter(|line| !is_figure(line))
        .map(|line| line.split_whitespace().count())
        .sum();
    if words > IDEA {
        add(line, format!("The idea has {words} words; say it in {IDEA}."));
    }
    let figure = idea.lines().find(is_figure);
    let Some(figure) = figure else {
        add(
            line,
            "The idea has no figure; draw one, with a text for those who cannot see it.".into(),
        );
        return;
    };
    let line = line_of(&text, figure);
    let (says, rest) = figure.trim_start_matches("![").split_once("](").unwrap_or_default();
    let picture = rest.split(')').next().unwrap_or_default();
    if says.is_empty() {
        add(line, "The figure has no text for those who cannot see it; say what it shows.".into());
    }
    if !scene.root.join(exercise.folder()).join(picture).is_file() {
        add(line, format!("There is no `{picture}`; draw it, or mend its name."));
    }
}
