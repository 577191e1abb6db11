//! Texts that break tokenizers: scripts, marks, joined emoji, odd white space, long runs.

/// Valid texts, each hard in its own way.
pub(super) const TEXTS: [&str; 24] = [
    "",
    " ",
    "\n",
    "\r\n\r\nCR and LF\rmixed\n\r",
    "tabs\t\tand   spaces   before\n   lines  \n",
    "No-break\u{a0}space, thin\u{2009}space, ideographic\u{3000}space, line\u{2028}separator",
    "zero\u{200b}width\u{200d}joiners\u{feff} and a BOM",
    "Zoe\u{308} naïve café cafe\u{301} a\u{300}\u{301}\u{302}\u{303}\u{304}b",
    "Z\u{334}\u{321}\u{34c}a\u{337}\u{345}l\u{335}g\u{336}o\u{338}",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇨🇭🇯🇵 ❤️ 1️⃣",
    "مرحبا بالعالم ١٢٣ שָׁלוֹם \u{202e}drawkcab\u{202c}",
    "हिन्दी नमस्ते দুনিয়া สวัสดีชาวโลก",
    "日本語のテキスト、中文字符。한국어 텍스트",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛 Ⅷ ½ ² ① ﬁ ǅ ß ẞ İı",
    "\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff}",
    "\0\u{1}\u{7f}\u{80}\u{9f}\u{ad}",
    "don't I'll we've they'RE it'd o'clock 'tis 's'' 'S can''t",
    "x=1;y+=2;//!?#$%^&*()_+{}|:\"<>,./~`[]\\",
    "3.14159 1,000,000 0x1F4A9 1e-9 ２０２６年 v1.2.3",
    "CamelCase snake_case kebab-case SCREAMING_CASE",
    "https://example.org/a?b=c&d=%20#frag user@example.org",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "                                                                x",
    "\n\n\n\n\n\n\n\n!!!!!!!!!!!!!!!!!!!!----------------______________",
];

/// Bytes that are no UTF-8, and what they become; the Unicode Standard's own table among them.
pub(super) const BROKEN: [(&[u8], &str); 16] = [
    (b"a\x80b", "a�b"),
    (b"a\xffb\xfec", "a�b�c"),
    (b"\xc3", "�"),
    (b"\xc3(", "�("),
    (b"\xc0\xaf", "��"),
    (b"\xe2\x82A", "�A"),
    (b"\xe2\x82\xe2\x82\xac", "�€"),
    (b"\xe0\x80\xaf", "���"),
    (b"\xed\xa0\x80", "���"),
    (b"\xed\xa0\xbd\xed\xb8\x80", "������"),
    (b"\xf0\x9f\x98", "�"),
    (b"\xf0\x9f\x98x\xf0\x9f\x98\x80", "�x😀"),
    (b"\xf4\x90\x80\x80", "����"),
    (b"\xf5\x80\x80\x80", "����"),
    (b"a\xf1\x80\x80\xe1\x80\xc2b\x80c\x80\xbfd", "a���b�c��d"),
    (b"\xc3\xa9\xc3", "é�"),
];

/// A text of random characters, a third of them from a few that repeat.
pub(super) fn random(rng: &mut crate::Generator, n_chars: usize) -> String {
    const OFTEN: [char; 8] = ['a', 'b', ' ', 'é', '\n', '日', '1', '\''];
    let any = |rng: &mut crate::Generator| loop {
        // Characters of one, two, three and four bytes alike.
        let bound = rng.choose(&[0x80, 0x800, 0x1_0000, 0x11_0000]);
        if let Some(c) = char::from_u32(rng.below(bound) as u32) {
            return c;
        }
    };
    (0..n_chars).map(|_| if rng.below(3) > 0 { rng.choose(&OFTEN) } else { any(rng) }).collect()
}
