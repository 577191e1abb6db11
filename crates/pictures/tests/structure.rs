//! What every page must be, whatever comes in.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use pictures::{
    Belief, Disc, Guess, HeadPattern, Line, attention_patterns, logit_lens, othello_board,
    patching, probe_accuracy,
};

const HOSTILE: &str = "</script><img src=x onerror='alert(1)'>\"&";

/// One page of each kind, with a hostile text in every place for text.
fn pages() -> [String; 5] {
    let bad = HOSTILE.to_owned();
    let tokens = vec![bad.clone(), "b".to_owned(), " c".to_owned()];
    let pattern = vec![vec![1.0, 0.0, 0.0], vec![0.25, 0.75, 0.0], vec![0.5, 0.125, 0.375]];
    let guess = |chance, is_right| Guess { token: bad.clone(), chance, is_right };
    let rows = vec![
        (bad.clone(), vec![guess(0.1, false), guess(0.2, false), guess(0.9, true)]),
        ("block 1".to_owned(), vec![guess(0.3, false), guess(0.4, true), guess(f64::NAN, false)]),
    ];
    let heat = vec![(bad.clone(), vec![0.0, -0.75, 1.0]), (bad.clone(), vec![2.0, 0.5, f64::NAN])];
    let line = |is_control| Line { name: bad.clone(), values: vec![0.5, 0.75, 1.0], is_control };
    let mut truth = [Disc::Empty; 36];
    truth[14] = Disc::White;
    let belief = [Belief { disc: Disc::Empty, chance: 0.9 }; 36];
    [
        attention_patterns(HOSTILE, &tokens, &[HeadPattern { name: bad.clone(), pattern }]),
        logit_lens(HOSTILE, &tokens, &rows),
        patching(HOSTILE, &tokens, &heat),
        probe_accuracy(HOSTILE, &tokens, &[line(false), line(true)]),
        othello_board(HOSTILE, &truth, &belief),
    ]
}

/// The names of all tags, those that close with their stroke.
fn tags(page: &str) -> Vec<String> {
    let inside = |part: &str| {
        let end = part.find(['>', ' ', '\n']).unwrap_or(part.len());
        let whole = part.split('>').next().unwrap_or_default();
        (part[..end].trim_end_matches('/').to_owned(), whole.ends_with('/'))
    };
    let parts = page.split('<').skip(1).map(inside);
    parts.filter(|(name, is_whole)| !is_whole && !name.starts_with('!')).map(|(n, _)| n).collect()
}

#[test]
fn every_tag_is_closed() {
    for page in pages() {
        // In scripts and styles `<` opens no tag.
        let page: String =
            page.split("<script>").map(|p| p.split("</script>").last().unwrap()).collect();
        let mut open: Vec<String> = Vec::new();
        for tag in tags(&page) {
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
                None if tag == "meta" => {}
                None => open.push(tag),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn no_text_becomes_markup() {
    for page in pages() {
        assert!(!page.contains("<img"), "{page}");
        assert!(!page.contains("onerror='"), "{page}");
        assert!(page.contains("&lt;img src=x onerror=&#39;alert(1)&#39;&gt;"));
    }
}

#[test]
fn the_network_is_asked_for_nothing() {
    for page in pages() {
        for foreign in ["http:", "https:", "url(", "<link", "src=\"", "@import", "fetch("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}

#[test]
fn pages_know_dark_and_narrow() {
    for page in pages() {
        for needed in ["prefers-color-scheme: dark", "width=device-width", "lang=\"en\"", "<h1>"] {
            assert!(page.contains(needed), "{needed}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }
}

/// Proves that a page of one kind has so many of something.
#[track_caller]
fn check(kind: usize, what: &str, times: usize) {
    assert_eq!(pages()[kind].matches(what).count(), times, "{what}");
}

#[test]
fn patterns_show_what_a_query_may_see() {
    check(0, "<rect ", 6);
    check(0, "data-p=\"0.375\"", 1);
    check(0, "attends 0.75 to b at 1", 2);
}

#[test]
fn the_lens_ticks_what_is_right() {
    check(1, " ✓<small>", 2);
    check(1, "<td", 6);
}

#[test]
fn harm_has_its_sign_and_colour() {
    check(2, "--hue:var(--cool);--p:0.750\">−0.75", 1);
    check(2, ">no number<", 1);
}

#[test]
fn controls_are_dashed_and_named() {
    check(3, "<polyline class=\"control\"", 2);
    check(3, "<polyline class=\"probe\"", 2);
    check(3, " (control)", 1);
    check(3, "<td>0.750</td>", 2);
}

#[test]
fn a_wrong_square_is_crossed_and_named() {
    check(4, "class=\"wrong\"", 1);
    check(4, "35 of 36 squares right. c3: it is white, the probe says empty.", 1);
}
