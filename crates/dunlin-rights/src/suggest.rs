//! What somebody may have meant: the known word that is nearest to a mistyped one.

/// Longer words are no slip of the pen, and comparing them would take its time.
const WORD_LEN_MAX: usize = 40;

/// The word that differs from `typed` in no more than a third of its letters.
pub(crate) fn nearest(typed: &str, words: &[&'static str]) -> Option<&'static str> {
    if typed.len() > WORD_LEN_MAX {
        return None;
    }
    let edits_max = (typed.len() / 3).clamp(1, 4);
    let with_edits = words.iter().map(|word| (edits(typed.as_bytes(), word.as_bytes()), *word));
    let (edits, word) = with_edits.min_by_key(|(edits, _)| *edits)?;
    (edits <= edits_max).then_some(word)
}

/// How many letters have to be put in, taken out or changed to get from one word to the other.
fn edits(from: &[u8], to: &[u8]) -> usize {
    // `costs[i]` is what it takes from the letters seen so far to the first `i` of the other word.
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for letter in from {
        let mut before = costs.clone();
        std::mem::swap(&mut before, &mut costs);
        for (i, cost) in costs.iter_mut().enumerate() {
            *cost = before[i] + 1;
        }
        for (i, other) in to.iter().enumerate() {
            let changed = before[i] + usize::from(letter != other);
            costs[i + 1] = costs[i + 1].min(changed).min(costs[i] + 1);
        }
    }
    costs[to.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_pen_is_recognized_and_another_word_is_not() {
        let words = ["publish", "subscribe", "retain", "will"];
        assert_eq!(nearest("pubish", &words), Some("publish"));
        assert_eq!(nearest("subscribed", &words), Some("subscribe"));
        assert_eq!(nearest("wil", &words), Some("will"));
        assert_eq!(nearest("read", &words), None);
        assert_eq!(nearest("", &words), None);
        assert_eq!(nearest(&"publish".repeat(100), &words), None);
    }
}
