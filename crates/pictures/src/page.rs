//! The frame of every page: title, style, and text made harmless.

/// Makes text harmless in markup and in quoted attributes. Control characters become visible.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('⏎'),
            '\t' => out.push('⇥'),
            // These turn the direction of what follows, which could make a page say another thing.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A token as one sees it: a space at either end is shown.
pub(crate) fn token(text: &str) -> String {
    let inner = text.trim_matches(' ');
    let before = text.len() - text.trim_start_matches(' ').len();
    let after = text.len() - before - inner.len();
    escape(&format!("{}{inner}{}", "␣".repeat(before), "␣".repeat(after)))
}

/// A number with so many digits, and a real minus sign.
pub(crate) fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "no number".to_owned();
    }
    let text = format!("{value:.digits$}");
    let is_zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
    if is_zero { text.replace('-', "") } else { text.replace('-', "−") }
}

/// A share of 1 for a style, never outside of it.
pub(crate) fn share(value: f64) -> String {
    format!("{:.3}", if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 })
}

/// A whole page. `body` is markup; title and what is said about it are text.
pub(crate) fn page(title: &str, about: &str, body: &str) -> String {
    let (title, about) = (escape(title), escape(about));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"about\">{about}</p>\n{body}\n</main>\n</body>\n</html>\n"
    )
}

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #1d1f24;
  --faint: #5d626d; --rule: #d9d7d0; --none: #f1efe9; --hot: #b4431c; --on-hot: #ffffff;
  --cool: #1f5fa8; --first: #b4431c; --second: #1f5fa8; --third: #6b4fa0; --fourth: #2d7a4b;
  --felt: #cfe3d4; --felt-rule: #8fb29a; --black: #17191d; --white: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --card: #1b1e24; --ink: #e9e7e1;
  --faint: #a3a8b3; --rule: #363a43; --none: #22262d; --hot: #f08a52; --on-hot: #1a0d05;
  --cool: #6fb0f5; --first: #f08a52; --second: #6fb0f5; --third: #b79df0; --fourth: #74c694;
  --felt: #25402f; --felt-rule: #48705a; --black: #0b0c0e; --white: #f4f2ec; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 24px 20px 40px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 4px; text-wrap: balance; }
h2 { font-size: 1rem; margin: 0 0 8px; }
.about, figcaption, .key { color: var(--faint); margin: 0 0 20px; max-width: 70ch; }
.mono, td, th, output { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, monospace; }
.wide { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 2px; font-size: 13px; }
th { font-weight: 600; color: var(--faint); padding: 3px 8px; text-align: center;
  white-space: pre; }
tbody th { text-align: right; position: sticky; left: 0; background: var(--paper); }
td { padding: 5px 8px; text-align: center; border-radius: 4px; white-space: pre;
  background: color-mix(in oklab, var(--hue, var(--hot)) calc(var(--p, 0) * 100%), var(--none)); }
td.strong { color: var(--on-hot); }
td small { display: block; font-size: 11px; opacity: .85; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font-family: inherit; }
.cards { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 14px; }
figcaption { margin: 8px 0 0; font-size: 14px; }
ul.key { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 6px 20px;
  font-size: 14px; }
ul.key svg { width: 44px; height: 14px; display: inline-block; vertical-align: -2px; }
output { display: block; min-height: 1.6em; font-size: 14px; }
@media (max-width: 500px) { main { padding: 16px 12px 32px; } h1 { font-size: 1.25rem; } }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_harmless() {
        assert_eq!(escape("<b a='\"'>&\n\u{7}\u{202e}"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;⏎��");
    }

    #[test]
    fn spaces_at_the_ends_are_seen() {
        assert_eq!(token(" the"), "␣the");
        assert_eq!(token("  "), "␣␣");
        assert_eq!(token("a b "), "a b␣");
    }

    #[test]
    fn numbers_have_their_sign() {
        assert_eq!(number(-0.254, 2), "−0.25");
        assert_eq!(number(-0.001, 2), "0.00");
        assert_eq!(number(f64::NAN, 2), "no number");
        assert_eq!(share(1.7), "1.000");
    }
}
