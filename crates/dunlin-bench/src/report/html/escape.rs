//! Text from outside in a page: it stays text, in elements and in quoted attributes.

use crate::report::words::printable;

/// `text` with all that could end an element or an attribute written as a reference.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in printable(text).chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Hides what follows, or turns its direction.
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => out.push('\u{FFFD}'),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_ends_an_element_or_an_attribute() {
        assert_eq!(
            escape("</td><script>alert('1' && \"2\")</script>"),
            "&lt;/td&gt;&lt;script&gt;alert(&#39;1&#39; &amp;&amp; &quot;2&quot;)&lt;/script&gt;"
        );
        assert_eq!(escape("a\0b\u{202e}c µ"), "a\u{FFFD}b\u{FFFD}c µ");
    }
}
