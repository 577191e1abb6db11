//! Imports point one way: `judge → checks → answer → protocol` and
//! `exercises, solutions → wick → answer → protocol`; the runner spawns and imports neither.

use tidy::{Edge, edges, none, packages_below};

/// Every room in `crates`, with the rooms that it may import, and those that its tests also may.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    ("answer", &["protocol"], &[]),
    (
        "checks",
        &["answer", "circuits", "datasets", "models", "pictures", "protocol", "report"],
        &[],
    ),
    ("circuits", &[], &[]),
    ("datasets", &[], &[]),
    ("devices", &[], &[]),
    ("fetch", &[], &[]),
    ("jail", &["report"], &[]),
    ("judge", &["checks", "jail", "protocol", "report"], &["answer", "wick"]),
    ("kernels", &[], &[]),
    ("models", &["answer", "protocol"], &[]),
    ("pictures", &[], &[]),
    ("protocol", &[], &[]),
    ("report", &[], &[]),
    ("tidy", &[], &[]),
    ("train-assets", &["datasets", "wick"], &["models"]),
    ("bundle", &["answer", "kernels", "models", "protocol"], &[]),
    ("wick", &["answer", "bundle", "kernels", "models", "protocol", "wick-macros"], &[]),
    ("wick-macros", &[], &[]),
    ("xtask", &["devices", "report"], &[]),
];

/// Says whether a room may import another of ours.
fn may(edge: &Edge, to_folder: &str) -> bool {
    let room = edge.folder.split('/').next().unwrap_or_default();
    match room {
        // An exercise that builds on an earlier one gets it from the solutions.
        // An example, to go further, may read data; a part never does.
        "exercises" | "solutions" => {
            edge.to == "wick"
                || to_folder.starts_with("solutions/")
                || edge.is_dev && ["datasets", "pictures"].contains(&edge.to.as_str())
        }
        _ => ROOMS.iter().any(|(name, imports, tests)| {
            *name == edge.from
                && (imports.contains(&edge.to.as_str())
                    || edge.is_dev && tests.contains(&edge.to.as_str()))
        }),
    }
}

#[test]
fn imports_point_one_way() {
    let mut complaints = Vec::new();
    for edge in edges() {
        let Some(to_folder) = &edge.to_folder else { continue };
        if !may(&edge, to_folder) {
            let (from, to) = (&edge.from, &edge.to);
            complaints.push(format!(
                "{from} imports {to}: turn it around, or add it to ROOMS here and say why in \
                 ARCHITECTURE.md"
            ));
        }
    }
    none(&complaints);
}

#[test]
fn a_package_is_called_as_its_folder() {
    let mut complaints = Vec::new();
    for edge in edges() {
        let mut folders = edge.folder.split('/');
        let (room, folder) = (folders.next().unwrap_or_default(), folders.next_back());
        let folder = folder.unwrap_or(room);
        let is_solution = room == "solutions";
        let name = if is_solution { format!("{folder}-solution") } else { folder.to_owned() };
        if edge.from != name {
            complaints.push(format!("{} is called {}, not {name}", edge.folder, edge.from));
        }
    }
    complaints.dedup();
    none(&complaints);
}

/// Proves that `member` builds without any tensor library.
#[track_caller]
fn needs_no_candle(member: &str) {
    let below = packages_below(member);
    assert!(below.contains(member), "cargo knows no {member}");
    let candle: Vec<_> = below.iter().filter(|name| name.starts_with("candle")).collect();
    assert!(candle.is_empty(), "{member} reaches {candle:?}");
}

#[test]
fn the_runner_needs_no_candle() {
    needs_no_candle("xtask");
}

#[test]
fn the_protocol_needs_no_candle() {
    needs_no_candle("protocol");
}

#[test]
fn the_jail_needs_no_candle() {
    needs_no_candle("jail");
}

#[test]
fn fetching_needs_no_candle() {
    needs_no_candle("fetch");
}

#[test]
fn the_report_needs_no_candle() {
    needs_no_candle("report");
}

#[test]
fn only_fetching_has_a_network() {
    for member in ["xtask", "judge", "wick", "train-assets"] {
        let below = packages_below(member);
        assert!(!below.contains("ureq") && !below.contains("rustls"), "{member} has a network");
    }
}
