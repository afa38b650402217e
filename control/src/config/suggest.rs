//! "Did you mean": the nearest of the words there are.

/// The word of `known` that `written` most likely stands for, if one is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = written.chars().count() / 3 + 1;
    let distances = known.into_iter().map(|word| (distance(written, word), word));
    distances
        .filter(|&(distance, _)| distance <= most)
        .min()
        .map(|(_, word)| word)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("listen", "listne", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected);
        }
    }

    #[test]
    fn near_words_only() {
        assert_eq!(nearest("lissten", ["ports", "listen"]), Some("listen"));
        assert_eq!(nearest("zebra", ["ports", "listen"]), None);
    }
}
